"""`ndogo budget`, and `ndogo compress --budget`: a table, a recipe file, one clear refusal."""

import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ndogo import show
from ndogo.budget_command import Wanted, make_recipe
from ndogo.cli import main
from ndogo.registry.bundles import home
from ndogo.registry.languages import Language, add_language
from ndogo.registry.recipes import recipe
from ndogo.registry.teachers import teacher
from ndogo.steps.plan import plan
from tests import tiny


@pytest.fixture
def model(tmp_path: Path, pico_model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pico teacher, and a language of one's own that it reads."""
    corpus, _ = tiny.write(tmp_path / "tiny")
    add_language(Language(name=tiny.NAME, corpus=str(corpus), teacher=str(pico_model("xlmr"))))
    monkeypatch.setattr(show, "console", Console(width=100))
    monkeypatch.setattr("ndogo.compressors.budget.MEASURED", 2)
    return pico_model("xlmr")


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["ndogo", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    return capsys.readouterr().err


def test_a_budget_shows_shapes_and_writes_the_recipe_of_the_first(model: Path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ndogo", "budget", tiny.NAME, "0.02M"])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr().out
    assert not end.value.code and "within 0.02M" in shown and "--recipe budget-tiny-0-02m" in shown
    guide = teacher(str(model))
    last = plan(recipe("budget-tiny-0-02m"), guide.config, guide.specials, scaled=True)[-1]
    assert last.params <= 20_000
    assert f"{last.params:,}" in shown.split("─")[-1].splitlines()[1]
    assert "2 shapes are cut and measured" in shown and len(list((home() / "trials").glob("*.json"))) == 2


@pytest.mark.parametrize("budget", ["small", "20", "0MB"])
def test_a_bad_budget_is_one_message(budget: str, model: Path, monkeypatch, capsys):
    said = refused(capsys, monkeypatch, "compress", tiny.NAME, "--budget", budget)
    assert said.startswith(f"ndogo: `{budget}` is no budget.") and "20MB, 12M or 5ms" in said
    assert "Traceback" not in said


def test_a_budget_that_nothing_keeps_to_names_one_that_something_does(model: Path, monkeypatch, capsys):
    said = refused(capsys, monkeypatch, "budget", tiny.NAME, "0.0001MB")
    assert "No shape of this teacher keeps to 0.0001MB" in said
    enough = re.search(r"Give ([0-9.]+MB) or more", said)
    assert enough and make_recipe(Wanted(tiny.NAME, enough[1]))
