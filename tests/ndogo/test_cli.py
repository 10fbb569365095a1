"""The command as people meet it: clear help, exit code 1 and one message without a traceback for every bad input."""

import gzip
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from rich.console import Console

from ndogo import show
from ndogo.cli import main
from ndogo.core.models import load_model, parameters
from ndogo.core.text import read_lines
from tests import tiny


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def ndogo(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command in this process: torch is imported once for all tests."""

    def run(*words: str | Path, **environment: str) -> Done:
        with monkeypatch.context() as patch:
            for name, value in ({"NDOGO_HOME": str(home), "COLUMNS": "100"} | environment).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["ndogo", *map(str, words)])
            patch.setattr(show, "console", Console(width=int(environment.get("COLUMNS", "100"))))
            patch.chdir(home)
            code = 0
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def check_refused(done: Done, *words: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("ndogo: ")
    missing = [word for word in words if word not in done.stderr]
    assert missing == [], done.stderr


def test_help_names_the_way_in(home: Path, ndogo):
    done = ndogo("--help")
    assert done.returncode == 0
    assert "ndogo compress swahili" in done.stdout
    for command in ("plan", "languages", "recipes", "trim", "distil", "evaluate", "serve", "compare"):
        assert command in done.stdout


def test_plan_as_json_holds_the_published_counts(home: Path, ndogo):
    done = ndogo("plan", "--recipe", "two-step", "--teacher", "xlm-roberta-base", "--json")
    rows = json.loads(done.stdout)
    assert (rows[0]["params"], rows[-1]["params"]) == (278_295_186, 22_814_253)
    assert rows[-1]["mb_fp32"] == pytest.approx(4e-6 * rows[-1]["params"], abs=1e-4), "its tokenizer is not here"
    assert all(row["peak_bytes"] > 0 for row in rows if row["kind"] in ("adapt", "distil"))


def test_plan_as_a_table_fits_eighty_columns(home: Path, ndogo):
    done = ndogo("plan", COLUMNS="80")
    assert "278,295,186" in done.stdout and "22,814,253" in done.stdout and "12.20x" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_lists(home: Path, ndogo):
    assert "Africa/Nairobi" in ndogo("languages").stdout
    assert "two-step" in ndogo("recipes").stdout


def test_bad_names_suggest_good_ones(home: Path, ndogo):
    check_refused(ndogo("compress", "swahilli"), "Did you mean swahili", "languages add")
    check_refused(ndogo("compress", "swahili", "--recipe", "two_step"), "Did you mean two-step")
    check_refused(ndogo("plan", "--teacher", "xlm-roberta"), "Did you mean xlm-roberta-base")
    check_refused(ndogo("compress", "swahili", NDOGO_PROFILE="moon"), "NDOGO_PROFILE", "pocket, local, hub")


def test_bad_recipe_files(home: Path, ndogo):
    file = home / "mine.yaml"
    file.write_text("name: mine\nsteps: [\n  - trim")
    check_refused(ndogo("plan", "--recipe", file), "not YAML", "mine.yaml, line 3, column 3")
    file.write_text("name: mine\nsteps:\n  - trim: {sise: 5}\n")
    check_refused(ndogo("plan", "--recipe", file), "Unknown key `sise`", "steps[0].trim", "Did you mean `size`")


def test_bad_models(home: Path, ndogo, pico_model, tmp_path: Path):
    text = home / "text.txt"
    text.write_text("habari\n")

    def trim(model: Path) -> Done:
        return ndogo("trim", model, "--corpus", text, "--size", "50", "--out", home / "out")

    check_refused(trim(home / "none"), "no model directory")
    (home / "empty").mkdir()
    check_refused(trim(home / "empty"), "no config.json")
    pickled = tmp_path / "pickled"
    shutil.copytree(pico_model("xlmr"), pickled)
    (pickled / "model.safetensors").unlink()
    torch.save({}, pickled / "pytorch_model.bin")
    check_refused(trim(pickled), "pickled weights", "convert them once")
    assert not (home / "out").exists()


def test_bad_texts(home: Path, ndogo, pico_model):
    def trim(text: Path) -> Done:
        return ndogo("trim", pico_model("xlmr"), "--corpus", text, "--size", "50", "--out", home / "out")

    check_refused(trim(home / "none.txt"), "no text at")
    (home / "empty.txt").write_text("\n \n")
    check_refused(trim(home / "empty.txt"), "corpus is empty")
    (home / "latin.txt").write_bytes(b"habari\nyako\n\xff\xfe bad\n")
    check_refused(trim(home / "latin.txt"), "Line 3 is not UTF-8", "iconv")
    (home / "rows.jsonl").write_text('{"text": "habari"}\n{"txt": 1}\n')
    check_refused(trim(home / "rows.jsonl"), "line 2", '{"text"')
    (home / "cut.txt.gz").write_bytes(gzip.compress(b"habari\n" * 9999)[:-20])
    check_refused(trim(home / "cut.txt.gz"), "cannot be read")
    assert [p.name for p in home.iterdir() if "draft" in p.name] == []


def test_an_output_that_is_there_is_not_touched(home: Path, ndogo, pico_model):
    (home / "out").mkdir()
    done = ndogo("truncate", pico_model("xlmr"), "--layers", "1", "--out", home / "out")
    check_refused(done, "there already")
    assert list((home / "out").iterdir()) == []


def test_steps_work_alone_one_after_the_other(home: Path, ndogo, pico_model):
    """trim, truncate, prune-ffn, prune-hidden, adapt, distil: each a command on a directory, with no server and no tracking."""
    text = home / "text.txt"
    text.write_text("\n".join(tiny.lines()), encoding="utf-8")

    def run(*words: str | Path) -> None:
        done = ndogo(*words)
        assert done.returncode == 0, done.stdout + done.stderr

    run("trim", pico_model("xlmr"), "--corpus", text, "--size", "100", "--out", home / "trimmed")
    run("truncate", home / "trimmed", "--layers", "1/2", "--out", home / "half")
    run("prune-ffn", home / "half", "--size", "32", "--corpus", text, "--out", home / "ffn")
    run("prune-hidden", home / "ffn", "--size", "16", "--corpus", text, "--out", home / "small")
    run(
        "adapt",
        home / "trimmed",
        "--corpus",
        text,
        "--steps",
        "3",
        "--batch-size",
        "4",
        "--max-length",
        "32",
        "--out",
        home / "a",
    )
    lesson = ("--objective", "{mlm: 0.5, logits_kl: 0.5}", "--steps", "3", "--batch-size", "4", "--max-length", "32")
    run(
        "distil",
        home / "small",
        "--teacher",
        home / "a",
        "--corpus",
        text,
        *lesson,
        "--out",
        home / "taught",
    )
    small, taught = load_model(home / "small"), load_model(home / "taught")
    assert parameters(small) == parameters(taught) < parameters(load_model(pico_model("xlmr"))) / 2
    assert not torch.equal(small.get_input_embeddings().weight, taught.get_input_embeddings().weight)
    assert sorted(p.name for p in home.iterdir()) == ["a", "ffn", "half", "small", "taught", "text.txt", "trimmed"]


def test_any_language_becomes_a_citizen(home: Path, ndogo, pico_model):
    corpus, benchmarks = tiny.write(home / "tiny")
    shutil.rmtree(benchmarks / "ner")
    add = ("languages", "add", "--name", "tiny", "--corpus", corpus, "--teacher", pico_model("xlmr"))
    done = ndogo(*add, "--benchmarks", benchmarks)
    assert done.returncode == 0, done.stderr
    lines = len(list(read_lines(corpus)))
    rows = len((benchmarks / "topic" / "train.jsonl").read_text().splitlines())
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if len(line.split()) > 1)
    assert told["text"].startswith(f"{lines:,} lines")
    assert told["topic"].startswith(f"train {rows:,}, dev ")
    assert told["ner"].startswith("missing: no folder ")
    assert "ndogo compress tiny" in done.stdout and "`ndogo serve` shows it as compress/tiny" in done.stdout
    assert "Without a benchmark" in ndogo(*add).stdout
    assert "tiny" in ndogo("languages").stdout
    check_refused(
        ndogo("languages", "add", "--name", "swahili", "--corpus", corpus, "--teacher", home),
        "brings a language",
    )
    check_refused(ndogo("languages", "add", "--name", "new", "--corpus", home / "no", "--teacher", home), "no text at")


def test_words_that_nothing_can_be_made_of_are_refused_in_words(home: Path, ndogo, pico_model):
    text = home / "text.txt"
    text.write_text("habari\n")
    add = ("languages", "add", "--name", "new", "--corpus", text, "--teacher", pico_model("xlmr"))
    check_refused(ndogo(*add, "--timezone", "Mars/Base"), "Mars/Base", "Africa/Nairobi")
    (home / "rows.yaml").write_text("topic: [")
    check_refused(ndogo(*add, "--benchmarks", home / "rows.yaml"), "not YAML", "rows.yaml")
    check_refused(ndogo("sweep", "--languages", "swahili", "--recipes", "two-step", "--seeds", "0,a"), "`a`", "--seeds")
    check_refused(ndogo("history", "a'b"), "a'b")
    check_refused(ndogo("history", "x", MLFLOW_TRACKING_URI="http://127.0.0.1:9"), "MLflow", "127.0.0.1")
    check_refused(ndogo("compress", "swahili", NDOGO_HOME=str(text / "below")), str(text))
    (home / "languages").mkdir()
    (home / "languages" / "bad.yaml").write_text("- one")
    check_refused(ndogo("languages"), "bad.yaml")
    wrong = ndogo("compress", "swahili", "--mode", "foo")
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr


def test_a_refusal_within_a_run_is_told_without_a_traceback(home: Path, ndogo):
    """Prefect logs every exception that ends a run, with all its frames."""
    (home / "recipes").mkdir()
    (home / "recipes" / "deep.yaml").write_text("name: deep\nsteps:\n  - truncate: {layers: 99}\n")
    done = ndogo("compress", "swahili", "--recipe", "deep")
    assert done.returncode == 1 and "ndogo: 99 was asked for layers" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_the_version(home: Path, ndogo):
    done = ndogo("--version")
    assert (done.returncode, done.stdout) == (0, f"ndogo {version('ndogo')}\n")
