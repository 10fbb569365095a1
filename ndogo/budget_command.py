"""`ndogo budget`: a size, a number of parameters or a latency becomes a recipe, by measuring shapes of the teacher itself."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ndogo.registry.corpora import Profile

if TYPE_CHECKING:
    from ndogo.compressors.budget import Limit
    from ndogo.registry.trials import Measured

BASE, VECTORS = "ndogo-small", "ndogo-embed-small"
"""Whose steps and trainings are taken: of a teacher with a masked-LM head, and of a bare encoder."""
SHOWN = 8
Dtype = Literal["fp32", "fp16", "int8"]
DTYPE = "Of a budget in MB: the type of the weights. int8: a byte each, and a scale per row."


@dataclass(frozen=True)
class Wanted:
    """What a person asks for."""

    language: str
    most: str
    dtype: Dtype = "fp32"
    profile: Profile | None = None
    teacher: str = ""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(rich_help_panel="Look")(budget)


def budget(
    language: Annotated[str, typer.Argument(help="A language; `ndogo languages` lists them.")],
    most: Annotated[str, typer.Argument(metavar="BUDGET", help="20MB to download, 12M parameters, or 5ms a row.")],
    dtype: Annotated[Dtype, typer.Option(help=DTYPE)] = "fp32",
    profile: Annotated[Profile | None, typer.Option(help="Where teacher and text come from.")] = None,
    teacher: Annotated[str, typer.Option(help="A model directory; default: the profile's own.")] = "",
) -> None:
    """Find the shape that keeps to a budget and loses least, by cutting the teacher to many, and write its recipe."""
    name = make_recipe(Wanted(language, most, dtype, profile, teacher))
    typer.echo(f"Now: ndogo compress {language} --recipe {name}")


def make_recipe(wanted: Wanted) -> str:
    """Measure shapes within the budget, show them, write $NDOGO_HOME/recipes/NAME.yaml of the best; the recipe's name.

    :raises NdogoError: no budget, no such language or teacher, or nothing fits.
    """
    from ndogo.compressors.budget import read_budget
    from ndogo.core.models import load_config
    from ndogo.registry.bundles import home
    from ndogo.registry.corpora import default_profile
    from ndogo.registry.languages import language
    from ndogo.registry.recipes import recipe
    from ndogo.registry.teachers import weights
    from ndogo.steps.fitting import recipe_text
    from ndogo.steps.recipe import parse_recipe

    limit, entry = read_budget(wanted.most, wanted.dtype), language(wanted.language)
    profile = wanted.profile or default_profile(entry)
    folder = weights(wanted.teacher, entry, profile)
    headless = _headless(folder)
    base = recipe(VECTORS if headless else BASE).text
    found = _measured(wanted.language, profile, (folder, base, headless), limit)
    kind = "" if wanted.dtype == "fp32" else f"-{wanted.dtype}"
    name = f"budget-{wanted.language}-{limit.text.lower().replace('.', '-')}{kind}"
    file = home() / "recipes" / f"{name}.yaml"
    text = recipe_text(base, name, limit, found[0][0], load_config(folder))
    parse_recipe(text, where=str(file))
    _write(file, text)
    _show(limit, found, "states lost" if headless else "bits/byte")
    typer.echo(f"written to {file}")
    return name


def _headless(folder: Path) -> bool:
    from ndogo.core.architectures import has_lm_head
    from ndogo.core.models import empty_model, load_config

    return not has_lm_head(empty_model(load_config(folder)))


def _measured(language: str, profile: Profile, source: tuple[Path, str, bool], limit: "Limit") -> "list[Measured]":
    """The shapes within the budget, the best first; `source`: the teacher, the base recipe, whether it is a bare encoder."""
    from ndogo import show
    from ndogo.compressors.budget import MEASURED, candidates, vocabularies
    from ndogo.compressors.latency import calibrate
    from ndogo.compressors.sizes import Counter
    from ndogo.core.models import load_config
    from ndogo.core.text import WeightedLines
    from ndogo.registry.bundles import open_store
    from ndogo.registry.corpora import corpus
    from ndogo.registry.trials import LONGEST, known, measured
    from ndogo.steps.trials import Trials

    (folder, base, headless), text = source, corpus(language, profile)
    counter = Counter(load_config(folder))
    with show.progress() as report:
        choices = vocabularies(folder, [WeightedLines(text.lines, 1.0, language)], report)
        clock = calibrate(counter.config, counter, report) if limit.kind == "ms" else None
        found = candidates(counter, limit, choices, clock, drop=headless)[:MEASURED]
    with TemporaryDirectory() as work:
        texts = (text.lines, text.validation, text.fingerprint())
        trials = Trials(folder, base, headless, choices, *texts, Path(work))
        missing = [candidate for candidate, loss in known(open_store(), trials, found) if loss is None]
        if missing:
            minutes = min(trials.seconds(missing), LONGEST) / 60
            show.console.print(f"{len(missing)} shapes are cut and measured: about {minutes:.0f} minutes.")
        with show.progress() as report:
            return measured(open_store(), trials, found, report)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.rename(file)


def _show(limit: "Limit", found: "list[Measured]", measure: str) -> None:
    """The chosen shape and the next best."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ndogo import show

    table = Table(title=f"within {limit.text}; the first is made", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("shape", "FFN", "heads", "rows", "covered", "parameters", f"MB {limit.dtype}", "ms", measure):
        table.add_column(column, justify="left" if column == "shape" else "right", no_wrap=True)
    for at, loss in found[:SHOWN]:
        table.add_row(
            f"{at.shape.layers}x{at.shape.hidden}",
            f"{at.shape.ffn:,}",
            str(at.shape.heads),
            f"{at.shape.vocab:,}",
            f"{100 * at.vocabulary.coverage:.2f}%",
            f"{at.params:,}",
            f"{at.size_mb:.1f}",
            "" if at.ms is None else f"{at.ms:.1f}",
            "" if loss is None else f"{loss:.3f}",
        )
    show.console.print(table)
    left = sum(loss is None for _, loss in found)
    more = f" Time ended before {left} others were measured; the same command goes on." if left else ""
    show.console.print(
        f"{measure}: of this teacher straight after the cut, before any training (docs/recipes.md).{more}"
    )
