"""Advice on a text: five scripts, each trimmed with a certificate; what is wrong with a text; who is not there."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from ndogo.cli import app
from ndogo.compressors.vocabulary import Wanted, trim
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_tokenizer
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from ndogo.registry.advice import ALL, COVERAGES, NONE, SOME, advise, known_teachers, sentences, support_of
from ndogo.registry.recipes import recipe
from ndogo.registry.survey import language_of_line, read_some, survey
from ndogo.registry.teachers import teacher, teacher_names
from ndogo.steps.plan import plan
from tests import pico

SCRIPTS = {
    "amharic": ["ልጆቹ በየቀኑ ኳስ ይጫወታሉ።", "መንግሥት አዲስ በጀት አወጣ።", "መጽሐፉ በጠረጴዛው ላይ ነው።", "እናቴ ቡና ትወዳለች።"],
    "arabic": ["يلعب الأطفال الكرة كل يوم.", "أعلنت الحكومة ميزانية جديدة.", "الكتاب على الطاولة.", "أمي تحب القهوة."],
    "devanagari": ["बच्चे रोज़ गेंद खेलते हैं।", "सरकार ने नया बजट बनाया।", "किताब मेज़ पर है।", "माँ को चाय पसंद है।"],
    "thai": ["เด็กเล่นบอลทุกวัน", "รัฐบาลประกาศงบประมาณใหม่", "หนังสืออยู่บนโต๊ะ", "แม่ชอบกาแฟ"],
    "cjk": ["孩子们每天踢球。", "政府公布了新的预算。", "书在桌子上。", "妈妈喜欢喝咖啡。"],
}
UNICODE = {"amharic": "ETHIOPIC"}
FAMILIES = ("xlmr", "bert", "modernbert")


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Pico teachers whose tokenizers have read all five scripts, and Swahili."""
    text = [*pico.TEXT[:4], *(line for lines in SCRIPTS.values() for line in lines)] * 4
    built: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in built:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(pico, "TEXT", text)
                built[family] = pico.FAMILIES[family](tmp_path_factory.mktemp("teachers") / family)
        return built[family]

    return get


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_trimmed_with_its_certificate_and_its_offsets(
    speaking: Callable[[str], Path], tmp_path: Path, family: str, script: str
):
    lines, source = SCRIPTS[script], speaking(family)
    numbers = trim(source, tmp_path, Wanted(coverage=1.0), [WeightedLines(lambda: iter(lines * 30))], silent)
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert certificate["valid"]
    assert next(iter(certificate["scripts"])) == UNICODE.get(script, script.upper())
    assert numbers["rows_after"] < numbers["rows_before"]
    before, after = load_tokenizer(source), load_tokenizer(tmp_path)
    for line in lines:
        old, new = (t(line, return_offsets_mapping=True) for t in (before, after))
        assert new["offset_mapping"] == old["offset_mapping"]
        assert after.convert_ids_to_tokens(new["input_ids"]) == before.convert_ids_to_tokens(old["input_ids"])
        spans = [span for span in new["offset_mapping"] if span[0] < span[1]]
        covered = {place for start, end in spans for place in range(start, end)}
        assert {i for i, c in enumerate(line) if not c.isspace()} <= covered


@pytest.mark.parametrize("script", SCRIPTS)
def test_advice_says_what_the_trim_finds(speaking: Callable[[str], Path], tmp_path: Path, script: str):
    lines = SCRIPTS[script] * 30
    text = survey(lines)
    assert next(iter(text.scripts)) == UNICODE.get(script, script.upper())
    assert text.spaced == (script not in ("thai", "cjk"))
    answers, problems = advise({family: speaking(family) for family in FAMILIES}, lines, text)
    assert problems == {}
    by_name = {advice.name: advice for advice in answers}
    for family, advice in by_name.items():
        assert advice.unknown == 0
        assert advice.rows[COVERAGES[0]] <= advice.rows[COVERAGES[-1]] < advice.vocabulary
        assert advice.coverage == 1
        tokenizer = load_tokenizer(speaking(family))
        assert advice.tokens == sum(len(tokenizer(line, add_special_tokens=False)["input_ids"]) for line in lines)
    out = tmp_path / "out"
    out.mkdir()
    wanted = Wanted(coverage=COVERAGES[-1])
    made = trim(speaking("xlmr"), out, wanted, [WeightedLines(lambda: iter(lines))], silent)
    assert by_name["xlmr"].rows[COVERAGES[-1]] == made["rows_after"]
    assert by_name["xlmr"].letters == 1


def test_a_script_that_a_tokenizer_does_not_know_is_seen(pico_model: Callable[[str], Path]):
    lines = SCRIPTS["amharic"] * 5
    answers, _ = advise({f: pico_model(f) for f in ("xlmr", "roberta")}, lines, survey(lines))
    assert [advice.name for advice in answers] == ["roberta", "xlmr"]  # bytes spell everything
    assert answers[1].unknown > 0.3
    assert answers[1].letters == 0
    assert any("unknown to it" in sentence for sentence in sentences(answers[1]))


def test_what_a_recipe_leaves_is_what_the_plan_of_the_trimmed_model_says(
    speaking: Callable[[str], Path], tmp_path: Path
):
    lines = SCRIPTS["thai"] * 30
    (advice,), _ = advise({"bert": speaking("bert")}, lines, survey(lines))
    trim(speaking("bert"), tmp_path, Wanted(coverage=0.9995), [WeightedLines(lambda: iter(lines))], silent)
    planned = {
        name: plan(recipe(name), load_config(tmp_path), 5, scaled=True)[-1].params
        for name in ("ndogo-tiny", "ndogo-base")
    }
    assert {name: advice.sizes[name] for name in planned} == planned
    assert advice.sizes["ndogo-tiny"] < advice.sizes["ndogo-base"] < advice.params


def test_known_teachers_are_marked_by_what_can_be_done_with_them():
    marks = {name: support_of(teacher(name).config) for name in teacher_names()}
    assert marks["xlm-roberta-base"] == marks["mmbert-small"] == ALL
    assert marks["labse"] == marks["granite-embedding-97m"] == f"{ALL}; sentence vectors, no masked-LM head"
    assert marks["mdeberta-v3-base"].startswith(SOME)
    assert marks["embeddinggemma"].startswith(f"{NONE}: transformers has no masked-LM")


def test_tokenizers_are_found_in_the_cache_and_in_folders_and_the_others_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pico_model: Callable[[str], Path]
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    snapshot = tmp_path / "cache" / "models--sentence-transformers--LaBSE" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text("{}")
    found, missing = known_teachers([pico_model("bert").parent])
    assert found["labse"] == snapshot
    assert pico_model("bert") in found.values()
    assert set(missing) == set(teacher_names()) - {"labse"}
    with pytest.raises(NdogoError, match="no tokenizer here"):
        known_teachers([tmp_path / "cache"])


def test_two_teachers_of_one_name_are_both_shown_and_settings_alone_are_no_tokenizer(
    tmp_path: Path, pico_model: Callable[[str], Path]
):
    other, settings = tmp_path / pico_model("bert").name, tmp_path / "settings"
    shutil.copytree(pico_model("bert"), other)
    settings.mkdir()
    (settings / "tokenizer_config.json").write_text("{}")
    found, _ = known_teachers([pico_model("bert"), other])
    assert (found[other.name], found[str(other)]) == (pico_model("bert"), other)
    with pytest.raises(NdogoError, match="no tokenizer here"):
        known_teachers([settings])


@pytest.mark.parametrize(
    ("tokens", "told"),
    [(20_000, "less than any of them"), (200_000, "less than their teacher"), (2_000_000, "as much as that teacher")],
)
def test_what_is_measured_of_amounts_of_text_is_said(speaking: Callable[[str], Path], tokens: int, told: str):
    lines = SCRIPTS["thai"]
    (advice,), _ = advise({"bert": speaking("bert")}, lines, survey(lines))
    page = " ".join(sentences(replace(advice, tokens=tokens)))
    assert told in page
    assert ("begin with `trim-only`" in page) == (tokens < 1_500_000)


FAULTS = {
    "Letters of several scripts": [*SCRIPTS["arabic"] * 5, *pico.TEXT[:3]],
    "read as English": ["Watoto wanacheza mpira kila siku."] * 9 + ["The end of the road is in the city."],
    "hold markup": ["Mtoto anasoma."] * 9 + ["<b>Kitabu</b> &amp; kalamu"],
    "not NFC": [unicodedata.normalize("NFD", "Àwọn ọmọdé ń ṣeré.")],
    "decoded wrongly": ["Mtoto \ufffd anasoma."],
    "repeat others": ["Mtoto anasoma."] * 2,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_text_is_said(fault: str):
    told = survey(FAULTS[fault]).warnings
    assert any(fault in warning for warning in told)
    assert survey(pico.TEXT[:4]).warnings == ()


def test_a_text_in_english_is_no_mixture():
    lines = [f"The {n} of the days is in the past." for n in range(20)]
    assert {language_of_line(line) for line in lines} == {"English"}
    assert survey(lines).warnings == ()
    assert language_of_line("La mama la watoto ni na les") == ""


def test_no_more_is_read_than_is_needed():
    assert read_some(["abc", "de", "f"], limit=5) == (["abc", "de"], False)
    assert read_some(["abc", "de"], limit=5) == (["abc", "de"], True)


def test_the_page_names_the_next_command(tmp_path: Path, pico_model: Callable[[str], Path]):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(pico.TEXT), encoding="utf-8")
    folder = pico_model("xlmr")
    shown = CliRunner().invoke(app, ["advise", str(text), "--teachers", str(folder)], catch_exceptions=False)
    page = " ".join(shown.output.split())
    for part in ("tokens/word", "ndogo-small", "Not here, and not fetched: xlm-roberta-base", "hf download"):
        assert part in page
    assert f"Next: ndogo languages add --name NAME --corpus {text} --teacher {folder}" in page
    raw = CliRunner().invoke(app, ["advise", str(text), "--teachers", str(folder), "--json"], catch_exceptions=False)
    assert [found["name"] for found in json.loads(raw.output)["teachers"]] == [folder.name]
