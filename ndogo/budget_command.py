"""`ndogo budget`: a size, a number of parameters or a latency becomes a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ndogo.registry.corpora import Profile

if TYPE_CHECKING:
    from ndogo.compressors.budget import Candidate, Limit

BASE = "ndogo-small"
"""Whose steps and trainings are taken."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Look")(budget)


def budget(
    language: Annotated[str, typer.Argument(help="A language; `ndogo languages` lists them.")],
    most: Annotated[str, typer.Argument(metavar="BUDGET", help="20MB to download, 12M parameters, or 5ms a row.")],
    profile: Annotated[Profile | None, typer.Option(help="Where teacher and text come from.")] = None,
    teacher: Annotated[str, typer.Option(help="A model directory; default: the profile's own.")] = "",
) -> None:
    """Find the shape that keeps to a budget and is expected to lose least, and write its recipe."""
    name = make_recipe(language, most, profile, teacher)
    typer.echo(f"Now: ndogo compress {language} --recipe {name}")


def make_recipe(language: str, most: str, profile: Profile | None, teacher: str) -> str:
    """Choose a shape within the budget, show it beside others, write $NDOGO_HOME/recipes/NAME.yaml; the recipe's name.

    :raises NdogoError: no budget, no such language or teacher, or nothing fits.
    """
    from ndogo import show
    from ndogo.compressors.budget import candidates, read_budget, vocabularies
    from ndogo.compressors.latency import calibrate
    from ndogo.compressors.sizes import Counter
    from ndogo.core.models import load_config
    from ndogo.core.text import WeightedLines
    from ndogo.registry.bundles import home
    from ndogo.registry.corpora import corpus, default_profile
    from ndogo.registry.languages import language as find_language
    from ndogo.registry.recipes import recipe
    from ndogo.registry.teachers import weights
    from ndogo.steps.fitting import recipe_text
    from ndogo.steps.recipe import parse_recipe

    limit, entry = read_budget(most), find_language(language)
    source = profile or default_profile(entry)
    folder = weights(teacher, entry, source)
    config = load_config(folder)
    counter = Counter(config)
    with show.progress() as report:
        choices = vocabularies(folder, [WeightedLines(corpus(language, source).lines, 1.0, language)], report)
        clock = calibrate(config, counter, report) if limit.kind == "ms" else None
        found = candidates(config, limit, choices, counter, clock)
    name = f"budget-{language}-{limit.text.lower().replace('.', '-')}"
    file = home() / "recipes" / f"{name}.yaml"
    text = recipe_text(recipe(BASE).text, name, limit, found[0], config)
    parse_recipe(text, where=str(file))
    _write(file, text)
    _show(limit, found)
    typer.echo(f"written to {file}")
    return name


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.rename(file)


def _show(limit: "Limit", found: "list[Candidate]") -> None:
    """The chosen shape and the best ones of other depths."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ndogo import show
    from ndogo.compressors.budget import SHOWN
    from ndogo.core.download import SIZE_TYPE

    table = Table(title=f"within {limit.text}; the first is made", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("shape", "FFN", "heads", "rows", "covered", "parameters", f"MB {SIZE_TYPE}", "ms", "expected loss"):
        table.add_column(column, justify="left" if column == "shape" else "right", no_wrap=True)
    for at in found[:SHOWN]:
        table.add_row(
            f"{at.shape.layers}x{at.shape.hidden}",
            f"{at.shape.ffn:,}",
            str(at.shape.heads),
            f"{at.shape.vocab:,}",
            f"{100 * at.vocabulary.coverage:.2f}%",
            f"{at.params:,}",
            f"{at.size_mb:.1f}",
            "" if at.ms is None else f"{at.ms:.1f}",
            f"{at.lost:.1f}",
        )
    show.console.print(table)
    show.console.print(
        "Expected loss: points of the teacher's score, by the rule of docs/recipes.md; a guide, no promise."
    )
