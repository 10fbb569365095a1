"""Commands that do one step on any model directory, with neither server nor tracking."""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ndogo.core.errors import NdogoError

PANEL = "One step, on any model directory"

Model = Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="A Hugging Face model directory with safetensors.")]
Out = Annotated[Path, typer.Option(help="The directory to write; it must not exist yet.")]
Corpora = Annotated[
    list[str],
    typer.Option(
        help="Text: .txt, .txt.gz, .jsonl(.gz), .parquet, a folder or hf:ID:CONFIG:SPLIT; "
        "again for more, each with an optional =WEIGHT."
    ),
]
Text = Annotated[Path | None, typer.Option(help="Text to measure importance on.")]
SizeText = Annotated[str, typer.Option("--size", help="A number, or a fraction of what is found, such as 312/768.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app, in the order of a pipeline."""
    for name, command in (
        ("trim", trim),
        ("truncate", truncate),
        ("prune-ffn", prune_ffn),
        ("prune-hidden", prune_hidden),
        ("adapt", adapt),
        ("distil", distil),
    ):
        app.command(name, rich_help_panel=PANEL)(command)


def trim(
    model: Model,
    corpus: Corpora,
    out: Out,
    size: Annotated[str | None, typer.Option(help="Ordinary pieces to keep: a number or a fraction.")] = None,
    coverage: Annotated[float | None, typer.Option(help="Instead of a size: share of running pieces to cover.")] = None,
    multiple_of: Annotated[int, typer.Option(help="Round the rows up to a multiple, such as 64.")] = 1,
    keep: Annotated[Path | None, typer.Option(help="A file of pieces to keep in any case, one a line.")] = None,
) -> None:
    """Keep the pieces that a language uses, with a certificate of what was kept."""
    from ndogo.core.specs import Trim
    from ndogo.core.text import read_lines

    spec = _spec(
        Trim,
        size=_size(size),
        coverage=coverage,
        multiple_of=multiple_of,
        keep=tuple(read_lines(keep)) if keep else (),
    )

    def build(draft: Path, report: Any) -> Mapping[str, Any]:
        from ndogo.compressors import vocabulary

        return vocabulary.trim(model, draft, spec, [_weighted(c) for c in corpus], report)

    _into(out, build)
    typer.echo((out / "certificate.md").read_text(encoding="utf-8"))


def truncate(
    model: Model,
    out: Out,
    layers: Annotated[str, typer.Option(help="A number, or a fraction such as 6/12.")],
    keep: Annotated[
        str, typer.Option(help="first, last, stride, stride-last, first-last, importance, or 0,2,4.")
    ] = "stride",
    importance: Annotated[str, typer.Option(help="With keep importance: change or loss.")] = "change",
    corpus: Text = None,
) -> None:
    """Keep some of the layers."""
    from ndogo.core.specs import Truncate

    chosen = tuple(int(n) for n in keep.split(",")) if keep[:1].isdigit() else keep
    spec = _spec(Truncate, layers=_size(layers), keep=chosen, importance=importance)

    def build(draft: Path, report: Any) -> Mapping[str, Any]:
        from ndogo.compressors import depth

        return depth.truncate(model, draft, spec, _lines(corpus), report)

    _into(out, build)


Scores = Annotated[
    Path | None, typer.Option(help="An earlier result of the same model, corpus and importance: take its scores over.")
]


def prune_ffn(
    model: Model,
    out: Out,
    size: SizeText,
    importance: Annotated[str, typer.Option(help="magnitude, taylor, activation or self.")] = "activation",
    corpus: Text = None,
    sentences: Annotated[int, typer.Option(help="Lines of the corpus to measure on.")] = 1000,
    scores: Scores = None,
) -> None:
    """Cut the FFN to one width in all layers."""
    from ndogo.core.specs import PruneFfn

    spec = _spec(PruneFfn, size=_size(size), importance=importance, sentences=sentences)

    def build(draft: Path, report: Any) -> Mapping[str, Any]:
        from ndogo.compressors import width

        return width.prune_ffn(model, draft, spec, _lines(corpus), report, scores)

    _into(out, build)


def prune_hidden(
    model: Model,
    out: Out,
    size: SizeText,
    select: Annotated[str, typer.Option(help="first, magnitude, taylor, activation or pca.")] = "activation",
    heads: Annotated[str, typer.Option(help="drop whole heads, shrink every head, or recut as the paper.")] = "shrink",
    corpus: Text = None,
    sentences: Annotated[int, typer.Option(help="Lines of the corpus to measure on.")] = 1000,
    scores: Scores = None,
) -> None:
    """Cut the hidden width."""
    from ndogo.core.specs import PruneHidden

    spec = _spec(PruneHidden, size=_size(size), select=select, heads=heads, sentences=sentences)

    def build(draft: Path, report: Any) -> Mapping[str, Any]:
        from ndogo.compressors import width

        return width.prune_hidden(model, draft, spec, _lines(corpus), report, scores)

    _into(out, build)


Epochs = Annotated[float | None, typer.Option(help="Passes over the text.")]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps.")]
Tokens = Annotated[int | None, typer.Option(help="Tokens to read.")]
Minutes = Annotated[float | None, typer.Option(help="A time budget; it is turned into steps once, before step 1.")]


def adapt(
    model: Model,
    corpus: Annotated[Path, typer.Option(help="Text to train on.")],
    out: Out,
    epochs: Epochs = None,
    steps: Steps = None,
    tokens: Tokens = None,
    minutes: Minutes = None,
    learning_rate: float = 5e-5,
    batch_size: int = 32,
    max_length: int = 128,
    seed: int = 0,
) -> None:
    """Continue masked-language modelling on a language."""
    from ndogo.core.specs import Adapt

    spec = _spec(
        Adapt,
        epochs=epochs,
        steps=1 if minutes else steps,
        tokens=tokens,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_length=max_length,
    )
    _train(out, model, None, spec, corpus, {"minutes": minutes, "seed": seed})


def distil(
    teacher: Annotated[Path, typer.Option(help="The model to learn from.")],
    student: Annotated[Path, typer.Option(help="The model to teach; it is left untouched.")],
    corpus: Annotated[Path, typer.Option(help="Text to train on.")],
    out: Out,
    objective: Annotated[
        str, typer.Option(help="Objectives with weights, as in a recipe.")
    ] = "{mlm: 0.5, logits_mse: 0.5}",
    epochs: Epochs = None,
    steps: Steps = None,
    tokens: Tokens = None,
    minutes: Minutes = None,
    learning_rate: float = 5e-5,
    batch_size: int = 32,
    max_length: int = 128,
    seed: int = 0,
) -> None:
    """Teach a student by any mix of the papers' objectives."""
    import yaml

    from ndogo.core.specs import Distil

    spec = _spec(
        Distil,
        teacher="teacher",
        objective=yaml.safe_load(objective),
        epochs=epochs,
        steps=1 if minutes else steps,
        tokens=tokens,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_length=max_length,
    )
    _train(out, student, teacher, spec, corpus, {"minutes": minutes, "seed": seed})


def _train(out: Path, student: Path, teacher: Path | None, spec: Any, corpus: Path, run: Mapping[str, Any]) -> None:
    def build(draft: Path, report: Any) -> Mapping[str, Any]:
        from ndogo.compressors.distillation import TrainingRun, distil, steps_in_minutes
        from ndogo.core.text import fingerprint, lines_of

        training = TrainingRun(
            lines=lines_of(corpus),
            fingerprint=fingerprint(corpus),
            work=out.absolute().with_name(f".{out.name}.work"),
            seed=run["seed"],
            report=report,
        )
        chosen = spec
        if run["minutes"]:
            steps = steps_in_minutes(student, teacher, spec, training, run["minutes"])
            typer.echo(f"{run['minutes']:g} minutes are {steps:,} steps on this machine")
            chosen = spec.model_copy(update={"steps": steps})
        numbers = distil(student, teacher, draft, chosen, training)
        shutil.rmtree(training.work, ignore_errors=True)
        return numbers

    _into(out, build)


def _spec(kind: type[Any], **fields: Any) -> Any:
    from ndogo.core.recipes import validated

    return validated(kind, fields, "the command line")


def _size(text: str | None) -> int | str | None:
    return int(text) if text and text.isdigit() else text


def _lines(corpus: Path | None) -> Any:
    from ndogo.core.text import lines_of

    return lines_of(corpus) if corpus else None


def _weighted(given: str) -> Any:
    from ndogo.core.text import WeightedLines, corpus_of

    name, _, weight = given.rpartition("=")
    try:
        share = float(weight) if name else 1.0
    except ValueError:
        name, share = given, 1.0
    text = name or given
    return WeightedLines(corpus_of(text), share, Path(text).name)


def _into(out: Path, build: Callable[[Path, Any], Mapping[str, Any]]) -> None:
    """Build in a draft beside `out`, load it back strictly, rename: `out` is whole or absent."""
    from ndogo import show
    from ndogo.registry.integrity import check_model

    if out.exists():
        raise NdogoError("The output is there already.", where=str(out), cure="Choose another --out, or remove it.")
    draft = out.absolute().with_name(f".{out.name}.draft-{os.getpid()}")
    draft.mkdir(parents=True)
    try:
        with show.progress() as report:
            numbers = dict(build(draft, report))
        numbers |= check_model(draft)
        draft.rename(out)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(draft)
    for name, value in numbers.items():
        show.console.print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    show.console.print(f"written to {out}")
