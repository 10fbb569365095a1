"""The five calls, as one types them in a notebook."""

import subprocess
import sys
from pathlib import Path

import pytest

import ndogo
from ndogo.api import make
from ndogo.core.architectures import shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config
from ndogo.steps.step import kinds
from tests import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NDOGO_HOME", str(tmp_path / "home"))
    return tiny.write(tmp_path / "tiny")[0]


def test_trim_cut_distil_and_evaluate(text: Path, pico_model, tmp_path: Path):
    from ndogo.registry.languages import Language, add_language

    source = pico_model("xlmr")
    small = ndogo.trim(source, tmp_path / "small", corpus=text, size=100)
    narrow = ndogo.cut(small.path, tmp_path / "narrow", layers="1/2", ffn="1/2", hidden="1/2", corpus=str(text))
    training = {"steps": 2, "batch_size": 4, "max_length": 32}
    taught = ndogo.distil(narrow.path, small.path, tmp_path / "taught", corpus=text, objective={"mlm": 1}, **training)
    shape = shape_of(load_config(taught.path))
    assert (shape.layers, shape.hidden, shape.ffn) == (1, 16, 32)
    assert taught.numbers["params"] == narrow.numbers["params"] < small.numbers["params"]
    folders = {"corpus": str(text), "teacher": str(source), "benchmarks": str(text.parent / "benchmarks")}
    add_language(Language(name=tiny.NAME, **folders))
    judged = ndogo.evaluate(taught.path, tiny.NAME, teacher=small.path, out=tmp_path / "report")
    assert judged.sentences and (tmp_path / "report" / "report.html").is_file()
    assert not list(tmp_path.glob(".*draft*")) and not list(tmp_path.glob(".cut-*"))


def test_what_is_refused_is_said_in_words(text: Path, pico_model, tmp_path: Path):
    with pytest.raises(NdogoError, match="exactly one of size and coverage"):
        ndogo.trim(pico_model("bert"), tmp_path / "out", corpus=text)
    with pytest.raises(NdogoError, match="nothing to cut"):
        ndogo.cut(pico_model("bert"), tmp_path / "out")
    with pytest.raises(NdogoError, match="There is no language"):
        ndogo.compress("swahilli")
    assert not (tmp_path / "out").exists()


def test_importing_ndogo_loads_nothing_heavy():
    code = "import sys, ndogo; print(sorted({'torch', 'prefect', 'mlflow', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_part_is_taken_of_each_corpus(text: Path, pico_model, tmp_path: Path):
    (tmp_path / "other.txt").write_text("\n".join(reversed(tiny.lines())), encoding="utf-8")
    step = kinds()["adapt"](epochs=1, batch_size=4, max_length=64, lines=10)
    corpora = [text, tmp_path / "other.txt"]
    made = make(step, {"student": pico_model("xlmr")}, tmp_path / "out", corpus=corpora)
    assert made.numbers["steps"] == 2 * 10 // 4


def test_a_refused_step_leaves_no_folder(pico_model, tmp_path):
    step = kinds()["truncate"](layers=99)
    with pytest.raises(NdogoError, match="99 was asked for layers"):
        make(step, {"student": pico_model("xlmr")}, tmp_path / "a" / "b" / "out")
    assert not list(tmp_path.iterdir())
