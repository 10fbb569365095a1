"""A recipe that makes sentence vectors: what is judged beside its model, what the report says, where translations are from."""

import gzip
import json
from pathlib import Path

import pytest

from ndogo.core.errors import NdogoError
from ndogo.core.progress import silent
from ndogo.evaluation import retention, summary
from ndogo.evaluation.picture import picture
from ndogo.evaluation.summary import Entry
from ndogo.evaluation.tables import markdown
from ndogo.registry.bundles import Bundle
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language, add_language
from ndogo.registry.parallel import articles, parallel
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.baselines import with_baselines
from ndogo.tasks.evaluation import evaluated
from ndogo.tasks.publication import roles_of
from ndogo.tasks.rivals import rivals
from ndogo.tasks.sharing import judged_alike
from ndogo.tasks.steps import find_or_make
from tests import pico, tiny

RECIPE = """
name: vectors
steps:
  - trim: {size: 150}
  - truncate: {layers: 1}
  - distil:
      teacher: trim
      objective: {hidden: {standardise: true, depths: {1: 1.0}}, sentence: {space: teacher}}
      steps: 4
      batch_size: 4
      max_length: 32
      mask_probability: 0
      teacher_outputs: int8
"""


def test_the_model_its_trim_its_cut_and_its_rivals_are_judged_by_their_vectors(pico_model, tmp_path: Path) -> None:
    text, rows = tiny.write(tmp_path / "tiny")
    teacher = pico_model("xlmr")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher), benchmarks=str(rows)))
    run = tiny.run_of(parse_recipe(RECIPE), teacher)
    for name in run.requests():
        find_or_make(run, name, silent)
    assert run.evaluated() == ["original", "trim", "truncate", "distil"]
    keys = run.bundle_keys()
    judged = {name: evaluated(run, Bundle(name, keys[name]), silent)[1] for name in run.evaluated()}
    assert all(set(one.vectors) == {"neighbours", "nearest_topic"} for one in judged.values())  # no translations here
    assert judged["original"].vectors["neighbours"].mean == 1.0
    assert judged["distil"].vectors["neighbours"].others["spearman"].mean < 1.0
    beside = rivals(run, Bundle("distil", keys["distil"]))
    assert {entry.role for entry in beside} == {"static", "trimmed-int8"}
    static = next(entry for entry in beside if entry.role == "static")
    assert static.evaluation.parameters <= run.store.details(keys["distil"]).numbers.params
    entries = [Entry(name, roles_of(run)[name], found) for name, found in judged.items()] + beside
    made = summary("vectors", entries)
    assert picture(made).startswith(b"\x89PNG")
    page = markdown(made)
    assert "Of the vectors of original, distil keeps: teacher's ten nearest" in page
    assert "| trimmed-int8 | trimmed-int8 |" in page and "| static | static |" in page
    assert rivals(run, Bundle("distil", keys["distil"])) == beside, "found again"
    more = rivals(run.model_copy(update={"baselines": {"truncate": "cut"}}), Bundle("distil", keys["distil"]))
    assert [entry.role for entry in more] == ["static", "static-taught", "trimmed-int8"], (
        "taught where baselines are asked for"
    )
    assert rivals(run, Bundle("distil", keys["distil"])) == more, "and shown wherever the store has them"


def test_a_bare_encoder_has_every_baseline_but_the_one_of_masked_lm(pico_model, tmp_path: Path) -> None:
    text, rows = tiny.write(tmp_path / "tiny")
    teacher = pico.embedder(pico_model("xlmr"), tmp_path / "teacher")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher), benchmarks=str(rows)))
    run = with_baselines(tiny.run_of(parse_recipe(RECIPE), teacher))
    assert run.baselines == {"baseline-untrained": "untrained", "truncate": "cut", "trim": "trimmed"}
    for name in run.requests():
        find_or_make(run, name, silent)


def test_beside_a_recipe_of_vectors_every_recipe_is_judged_by_them(pico_model, tmp_path: Path) -> None:
    text, rows = tiny.write(tmp_path / "tiny")
    teacher = pico_model("xlmr")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher), benchmarks=str(rows)))
    without = RECIPE.replace("name: vectors", "name: states").replace(", sentence: {space: teacher}", "")
    ours, other = (tiny.run_of(parse_recipe(raw), teacher) for raw in (RECIPE, without))
    assert judged_alike([other]) == [other] and not other.judges_vectors
    one, two = judged_alike([ours, other])
    assert one == ours and two.judges_vectors and two.evaluated() == other.evaluated()
    for name in two.requests():
        find_or_make(two, name, silent)
    judged = {name: evaluated(two, Bundle(name, two.bundle_keys()[name]), silent)[1] for name in two.evaluated()}
    assert all(set(one.vectors) == {"neighbours", "nearest_topic"} for one in judged.values())
    assert judged["distil"].vectors["neighbours"].others["spearman"].mean < 1.0
    assert set(retention(judged["distil"], judged["original"]).vectors) == {"neighbours", "nearest_topic"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local profile's folder: three translated lines, and topic rows in both languages."""
    monkeypatch.setenv("NDOGO_DATA", str(tmp_path))
    (tmp_path / "parallel" / "news").mkdir(parents=True)
    for code, lines in (("swa", "moja\nmbili\ntatu\n"), ("eng", "one\ntwo\nthree\n")):
        (tmp_path / "parallel" / "news" / f"{code}.txt.gz").write_bytes(gzip.compress(lines.encode()))
        folder = tmp_path / "tasks" / "topic" / code
        folder.mkdir(parents=True)
        for split in ("train", "dev", "test"):
            rows = [{"text": f"{code} {split} {n}", "label": "ab"[n % 2]} for n in range(4)]
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_translations_are_judged_on_one_text_and_chosen_on_another(data: Path) -> None:
    found = parallel("swahili", "local", Hub())
    assert found is not None
    assert found.test == (("moja", "mbili", "tatu"), ("one", "two", "three"))
    assert found.dev[0][0] == "swa train 0" and found.dev[1][-1] == "eng dev 3" and len(found.dev[0]) == 8
    assert parallel("hausa", "local", Hub()) is None and parallel("swahili", "pocket", Hub()) is None


def test_lines_that_cannot_be_translations_are_refused(data: Path) -> None:
    (data / "parallel" / "news" / "eng.txt.gz").write_bytes(gzip.compress(b"one\n"))
    with pytest.raises(NdogoError, match="3 lines cannot be translations of 1"):
        parallel("swahili", "local", Hub())


def test_rows_with_other_labels_are_no_translations(data: Path) -> None:
    file = data / "tasks" / "topic" / "eng" / "dev.jsonl"
    file.write_text(file.read_text().replace('"a"', '"b"'))
    found = parallel("swahili", "local", Hub())
    assert found is not None and found.dev == ((), ())


def test_an_article_is_its_first_sentence_and_the_rest(data: Path) -> None:
    folder = data / "tasks" / "topic_news" / "swa"
    folder.mkdir(parents=True)
    rest = "Mvua imenyesha usiku kucha katika maeneo mengi ya pwani."
    texts = [
        f"Rais amezungumza na wananchi leo. {rest}",
        "Fupi. Mno.",
        f"Dk. Asha ameteuliwa kuwa waziri wa afya! {rest}",
    ]
    for split in ("train", "dev", "test"):
        rows = [
            {"text": f"{split}: {text}" if split != "test" else text, "label": "ab"[n % 2]}
            for n, text in enumerate(texts)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = articles("swahili", "local")
    assert [first for first, _ in found] == [
        "Rais amezungumza na wananchi leo.",
        "Dk. Asha ameteuliwa kuwa waziri wa afya!",
    ]
    assert {after for _, after in found} == {rest}
    assert articles("hausa", "local") == () and articles("swahili", "pocket") == ()
