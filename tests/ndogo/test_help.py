"""What is printed is what was written: help without a picture or a gap, tables that keep their names in 80 columns."""

import io

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from ndogo import show
from ndogo.cli import app
from ndogo.registry.recipes import recipe_names
from ndogo.tasks.run_record import RunRecord

GROUP = typer.main.get_command(app)
COMMANDS = [[], *([name] for name in GROUP.commands), ["languages", "add"]]  # type: ignore[attr-defined]  # it is a group


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_help_has_a_picture(words: list[str]):
    shown = help_of(words)
    assert [sign for sign in shown if ord(sign) > 0x2FFF] == []
    assert "&#" not in shown


def test_what_markup_would_take_is_in_the_help():
    assert "hf:ID:CONFIG:SPLIT" in help_of(["languages", "add"])
    assert "`<mask>`" in help_of(["fill"])

    @app.command("for-this-test")
    def command(
        option: str = typer.Option("", help="a folder tasks/<benchmark>/[a]/*_b* of hf:ID:heart: rows"),
    ) -> None:
        """See <this>, :smile: and [bold]that[/bold]."""

    try:
        shown = " ".join(help_of(["for-this-test"]).split())
    finally:
        app.registered_commands.pop()
    assert "See <this>, :smile: and [bold]that[/bold]." in shown
    assert "tasks/<benchmark>/[a]/*_b* of hf:ID:heart: rows" in shown


def help_of(words: list[str]) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"NO_COLOR": "1", "COLUMNS": "150"})
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(show, "console", Console(width=80, file=text))
    return text


def test_names_are_whole_in_80_columns(screen: io.StringIO):
    show.recipes_table()
    show.languages_table()
    first = {line.split()[0] for line in screen.getvalue().splitlines() if line.strip()}
    assert {*recipe_names(), "swahili", "comet-five"} <= first
    assert "Europe/Bratislava" in screen.getvalue()


def test_runs_of_long_names_are_told_apart_in_80_columns(screen: io.StringIO):
    summary = {"params": 278_295_186, "size_mb": 1113.2, "compression_ratio": 12.2, "score": 0.5}
    summary |= {"retention": 1.002, "retention_low": 0.988, "retention_high": 1.101}
    records = [
        RunRecord.model_construct(recipe="two-step-mbert-456", seed=seed, profile="pocket", summary=summary)
        for seed in (11, 12)
    ]
    show.comparison("swahili", records)
    rows = [line for line in screen.getvalue().splitlines() if "two-step-mbert-456" in line]
    assert [row.split()[:3] for row in rows] == [["two-step-mbert-456", n, "pocket"] for n in ("11", "12")]
    assert all("278.30M" in row and "98.8-110.1" in row and row.rstrip().endswith("50.0") for row in rows)
