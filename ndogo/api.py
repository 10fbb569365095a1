"""Ndogo from Python: five calls that the command line uses as well.

import ndogo

ndogo.trim("xlm-roberta-base", "small", corpus="swa.txt.gz", coverage=0.999)
ndogo.cut("small", "narrow", layers="1/2", ffn="1/2", hidden="1/2", corpus="swa.txt.gz")
ndogo.distil("narrow", "small", "taught", corpus="swa.txt.gz", epochs=3)
ndogo.evaluate("taught", language="swahili", teacher="small")
ndogo.compress("swahili", recipe="ndogo-small")
"""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ndogo.core.errors import NdogoError
from ndogo.core.progress import Report, silent
from ndogo.core.text import WeightedLines, fingerprint, part_of
from ndogo.evaluation import Mode, Summary
from ndogo.registry.benchmarks import labelled
from ndogo.registry.corpora import Profile, corpus_of
from ndogo.steps.recipe import validated
from ndogo.steps.step import Context, Step, kinds
from ndogo.steps.step import make as make_step

PathLike = str | Path
Size = int | str
"""A number, or a fraction of what is found, such as "1/2"."""
Corpora = str | Path | Sequence[str]
"""Text files, folders or `hf:ID:CONFIG:SPLIT`; one or several, each with an optional =WEIGHT."""


@dataclass(frozen=True)
class Made:
    """A model directory that a step wrote, and what it measured."""

    path: Path
    numbers: Mapping[str, Any]
    run: str = ""
    """The id of the run that made it, where a recipe did."""


def trim(
    model: PathLike,
    out: PathLike,
    corpus: Corpora,
    *,
    size: Size | None = None,
    coverage: float | None = None,
    **more: Any,
) -> Made:
    """Keep the tokens that a language uses; certificate.md in `out` says what was kept.

    Give `size` (tokens) or `coverage` (share of the running tokens). `more`: the other keys of a recipe's `trim`.

    :raises NdogoError: a directory, text or size that cannot be used.
    """
    return make(_step("trim", size=size, coverage=coverage, **more), {"student": Path(model)}, out, corpus=corpus)


def cut(
    model: PathLike,
    out: PathLike,
    *,
    layers: Size | None = None,
    ffn: Size | None = None,
    hidden: Size | None = None,
    corpus: Corpora = (),
) -> Made:
    """Drop layers and cut both widths, as the recipe ndogo-small does; what is not given stays whole.

    Layers and neurons are chosen on `corpus`.

    :raises NdogoError: a directory, text or size that cannot be used, or nothing to cut.
    """
    chosen = {
        "truncate": {"layers": layers, "keep": "importance"},
        "prune_ffn": {"size": ffn},
        "prune_hidden": {"size": hidden, "select": "pca"},
    }
    steps = [_step(kind, **fields) for kind, fields in chosen.items() if None not in fields.values()]
    if not steps:
        raise NdogoError("There is nothing to cut.", where="cut", cure="Give layers, ffn or hidden.")
    with tempfile.TemporaryDirectory(dir=Path(out).absolute().parent, prefix=".cut-") as folder:
        at = Path(model)
        for number, step in enumerate(steps, 1):
            target = Path(out) if step is steps[-1] else Path(folder) / str(number)
            made = make(step, {"student": at}, target, corpus=corpus)
            at = target
    return made


def distil(
    student: PathLike,
    teacher: PathLike,
    out: PathLike,
    corpus: Corpora,
    *,
    objective: Mapping[str, Any] | None = None,
    seed: int = 0,
    **training: Any,
) -> Made:
    """Teach `student`, which is left untouched; killed and called again, it goes on from the last checkpoint.

    `objective`: names with weights, default {"mlm": 1, "direct": 10}. `training`: epochs, steps or tokens, and the other keys
    of a recipe's `distil`.

    :raises NdogoError: models, text or settings that do not fit together.
    """
    step = _step("distil", objective=dict(objective or {"mlm": 1.0, "direct": 10.0}), **training)
    return make(step, {"student": Path(student), "teacher": Path(teacher)}, out, corpus=corpus, seed=seed)


def evaluate(
    model: PathLike,
    language: str,
    *,
    teacher: PathLike | None = None,
    profile: Profile | None = None,
    mode: Mode = "probe",
    reduction: int = 16,
    out: PathLike | None = None,
    report: Report = silent,
) -> Summary:
    """Judge any encoder directory on a language's benchmarks, alone or against its teacher; with `out`, write the report there.

    `mode`: probe (frozen encoder, fast), finetune (all weights), own (the answers of the model's own task head), or adapter
    (frozen encoder with adapters that are `reduction` times narrower).

    :raises NdogoError: no such language, or a model or benchmark that cannot be read.
    """
    from ndogo import evaluation as judging
    from ndogo.core.download import download_mb, tokenizer_bytes
    from ndogo.core.models import load_config
    from ndogo.registry.benchmarks import benchmarks
    from ndogo.registry.corpora import corpus, default_profile
    from ndogo.registry.languages import language as find_language

    student, guide = Path(model), Path(teacher) if teacher else None
    source = profile or default_profile(find_language(language))
    rows, text = benchmarks(language, source), corpus(language, source)
    settings = validated(judging.EvaluationSettings, {"mode": mode, "reduction": reduction}, "mode")
    costs = judging.cost(student, guide, report=report)

    def entry(folder: Path, role: judging.Role, spent: judging.Cost | None) -> judging.Entry:
        found = judging.evaluate(folder, rows, settings, report)
        if mode == "own" and guide and folder != guide:
            agreed = judging.agreement(folder, guide, text.held_out, settings, report)
            found = found.model_copy(update={"agreement": agreed})
        if (load_config(folder).architectures or [""])[0].endswith("ForMaskedLM"):
            columns = judging.retained_columns(folder, guide) if guide else []
            asked = judging.LanguageModelSettings()
            dropped = (
                judging.dropped_columns(guide, columns, text.held_out, asked, report) if guide and columns else 0.0
            )
            quality = judging.language_model_quality(folder, text.held_out, (text.lines,), asked, report, dropped)
            found = found.model_copy(update={"language_model": quality})
        size = download_mb(spent.parameters.total, tokenizer_bytes(folder)) if spent else None
        return judging.Entry(folder.name, role, found, spent, size_mb=size)

    entries = [entry(guide, "original", costs.teacher)] if guide else []
    entries.append(entry(student, "student", costs.student))
    title = f"{student.name}, {language}"
    return judging.write_report(title, entries, Path(out)) if out else judging.summary(title, entries)


def compress(
    language: str,
    recipe: str = "ndogo-small",
    *,
    profile: Profile | None = None,
    teacher: str = "",
    seed: int = 0,
    mode: Mode | None = None,
    baselines: bool = False,
) -> Made:
    """Make a small model of a language by a recipe, judge every stage, and register it; what is in the store is found.

    `mode`: as for `evaluate`; default: own where the recipe makes a task model, else probe.

    :returns: the small model and the run's summary: size, scores, what was retained.
    :raises NdogoError: whatever cannot be found or cannot be done, or the gate's refusal.
    """
    from ndogo.registry.bundles import open_store
    from ndogo.registry.corpora import default_profile
    from ndogo.registry.languages import language as find_language
    from ndogo.registry.recipes import recipe as find_recipe
    from ndogo.registry.teachers import weights

    entry = find_language(language)
    chosen = profile or default_profile(entry)
    find_recipe(recipe)  # these two refuse bad input before Prefect starts
    weights(teacher, entry, chosen)
    from ndogo.flows.without_server import without_server

    with without_server():
        from ndogo.flows.compress import compress as flow
        from ndogo.tasks.run_record import RUNS, RunRecord

        run, store = flow(language, recipe, chosen, seed, teacher, mode, baselines), open_store()
    record = store.read_record(RUNS, run, RunRecord)
    assert record is not None, "the run has just ended"
    return Made(store.path(record.steps[record.last].key), record.summary, run)


def make(
    step: Step,
    inputs: Mapping[str, Path],
    out: PathLike,
    *,
    corpus: Corpora = (),
    rows: str = "",
    seed: int = 0,
    minutes: float | None = None,
    report: Report = silent,
) -> Made:
    """Make one step's result alone: in a draft beside `out`, loaded back strictly, renamed. `out` is whole or absent.

    `rows`: the labelled rows of a step that learns from some: a language, a folder, or hf:ID:CONFIGURATION.

    :raises NdogoError: `out` is there already, or whatever the step refuses.
    """
    from ndogo.registry.files import clear_disk_errors, work_folder
    from ndogo.registry.integrity import check_model

    target = Path(out)
    if target.exists():
        raise NdogoError("The output is there already.", where=str(out), cure="Choose another --out, or remove it.")
    if step.needs_text and not corpus:
        raise NdogoError(f"{step.kind} reads text, and there is none.", where="--corpus", cure="Give a file of text.")
    given = [weighted(text) for text in ((corpus,) if isinstance(corpus, str | Path) else corpus)]
    texts = tuple(replace(text, lines=part_of(text.lines, step.part)) for text in given)
    work = target.absolute().with_name(f".{target.name}.work")
    if step.reads_rows and not rows:
        raise NdogoError(f"{step.kind} reads labelled rows.", where="--rows", cure="Give a language or a folder.")
    context = Context(texts=texts, seed=seed, work=work, report=report, rows=lambda name: labelled(name, rows))
    if step.trains and context.lines:
        context = replace(context, fingerprint=fingerprint(context.lines))
    with work_folder(work), _draft(target) as draft, clear_disk_errors(draft):
        if minutes is not None:
            step = step.within(minutes, inputs, context)
        numbers = make_step(step, inputs, draft, context) | check_model(draft).model_dump()
        if not step.makes_model:
            _add_card(draft, inputs["student"], target.name)
        draft.rename(target)
    return Made(target, numbers)


def _add_card(folder: Path, model: Path, name: str) -> None:
    """Put the card into a folder that ships, where a run of this store made its model."""
    from ndogo.registry.bundles import open_store
    from ndogo.tasks.cards import card_of_folder

    if text := card_of_folder(open_store(), model, name):
        (folder / "README.md").write_text(text, encoding="utf-8")


def _step(kind: str, **fields: Any) -> Step:
    given = {name: value for name, value in fields.items() if value is not None}
    return validated(kinds()[kind], given, kind)


def weighted(given: PathLike) -> WeightedLines:
    """A corpus as a person writes it: a path or hf:ID, with an optional =WEIGHT."""
    name, _, weight = str(given).rpartition("=")
    try:
        share = float(weight) if name else 1.0
    except ValueError:
        name, share = str(given), 1.0
    text = name or str(given)
    return WeightedLines(corpus_of(text), share, Path(text).name)


@contextlib.contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, gone at the end unless it was renamed."""
    draft = target.absolute().with_name(f".{target.name}.draft-{os.getpid()}")
    for left in draft.parent.glob(f"{glob.escape(draft.name.rpartition('-')[0])}-*"):  # by a kill
        if not psutil.pid_exists(int(left.name.rpartition("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    made = [folder for folder in draft.parents if not folder.exists()]
    draft.mkdir(parents=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):  # one that holds the result stays, and so do those above it
            for folder in made:
                folder.rmdir()
