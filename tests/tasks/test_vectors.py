"""A recipe that makes sentence vectors: what is judged beside its model, what the report says, where translations are from."""

import gzip
import json
from pathlib import Path

import pytest

from ndogo.core.errors import NdogoError
from ndogo.core.progress import silent
from ndogo.evaluation import summary
from ndogo.evaluation.picture import picture
from ndogo.evaluation.summary import Entry
from ndogo.evaluation.tables import markdown
from ndogo.registry.bundles import Bundle
from ndogo.registry.languages import Language, add_language
from ndogo.registry.parallel import parallel
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.evaluation import evaluated
from ndogo.tasks.publication import roles_of
from ndogo.tasks.rivals import rivals
from ndogo.tasks.steps import find_or_make
from tests import tiny

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
    found = parallel("swahili", "local")
    assert found is not None
    assert found.test == (("moja", "mbili", "tatu"), ("one", "two", "three"))
    assert found.dev[0][0] == "swa train 0" and found.dev[1][-1] == "eng dev 3" and len(found.dev[0]) == 8
    assert parallel("hausa", "local") is None and parallel("swahili", "pocket") is None


def test_lines_that_cannot_be_translations_are_refused(data: Path) -> None:
    (data / "parallel" / "news" / "eng.txt.gz").write_bytes(gzip.compress(b"one\n"))
    with pytest.raises(NdogoError, match="3 lines cannot be translations of 1"):
        parallel("swahili", "local")


def test_rows_with_other_labels_are_no_translations(data: Path) -> None:
    file = data / "tasks" / "topic" / "eng" / "dev.jsonl"
    file.write_text(file.read_text().replace('"a"', '"b"'))
    found = parallel("swahili", "local")
    assert found is not None and found.dev == ((), ())
