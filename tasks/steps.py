"""One task per step of a recipe: find its bundle, or make it."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from ndogo.core.progress import Report
from ndogo.core.specs import Adapt, Distil, Fresh, PruneFfn, PruneHidden, Step, Trim, Truncate
from ndogo.core.text import WeightedLines
from ndogo.registry.bundles import Bundle, Request, Store
from ndogo.registry.corpora import corpus
from ndogo.registry.hub import Hub
from ndogo.tasks import notes
from ndogo.tasks.progress import reporter
from ndogo.tasks.run import Owner, Run

TITLES = {
    "adapt": "Adapt the teacher",
    "trim": "Trim the vocabulary",
    "truncate": "Drop layers",
    "prune_ffn": "Prune the FFN",
    "prune_hidden": "Prune the hidden width",
    "fresh": "Start a fresh student",
    "distil": "Distil",
}

GPU = "gpu"
"""Tag of the steps that use a GPU where there is one. `prefect concurrency-limit create gpu 1` lets one run at a time."""


@task(cache_policy=NO_CACHE, persist_result=False)
def make(owners: Sequence[Owner], parents: Mapping[str, Bundle]) -> "Bundle | State[Bundle]":
    """Find or make the bundle of a step that one run or several need; a found one ends in the state Cached.

    `parents` are the bundles it needs, by role: they are there when this starts.
    """
    run, name = owners[0]
    started = time.monotonic()
    bundle, found = find_or_make(run, name, reporter(run, name))
    for owner, own_name in owners:
        shared = found or owner is not run
        seconds = time.monotonic() - started
        notes.note_step(owner, owner.recipe.step(own_name), bundle, parents, found=shared, seconds=seconds)
    return Completed(name="Cached", message=f"found {bundle.key} in the store", data=bundle) if found else bundle


def tags_of(step: Step | type[Step]) -> list[str]:
    """Tags of a step's task: its kind, and whether it counts against the limit of GPU steps."""
    return [step.kind, GPU] if step.trains else [step.kind]


def find_or_make(run: Run, name: str, report: Report) -> tuple[Bundle, bool]:
    """The bundle of a run's step, whose parents are in the store, and whether it was found; no Prefect is needed."""
    step, request = run.recipe.step(name), run.requests()[name]
    return Store().find_or_make(request, lambda draft: build(run, step, request, draft, report))


def threads() -> int:
    """Threads of a compute step: $OMP_NUM_THREADS, else all cores. Equal in every runner, so that no digit depends on it."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdigit() and int(given) else os.cpu_count() or 1


def build(run: Run, step: Step, request: Request, draft: Path, report: Report) -> Mapping[str, Any]:
    """Call the compressor of a step on its parents' directories, with a fixed number of threads."""
    import torch

    torch.set_num_threads(threads())
    store = Store()
    source = store.path(request.parents["student"])
    text = corpus(run.language, run.profile, Hub(run.sources.corpus))
    lines = text.lines
    match step:
        case Trim():
            from ndogo.compressors import vocabulary

            return vocabulary.trim(source, draft, step, [WeightedLines(lines, 1.0, run.language)], report)
        case Truncate():
            from ndogo.compressors import depth

            return depth.truncate(source, draft, step, lines, report)
        case PruneFfn():
            from ndogo.compressors import width

            return width.prune_ffn(source, draft, step, lines, report)
        case PruneHidden():
            from ndogo.compressors import width

            return width.prune_hidden(source, draft, step, lines, report)
        case Fresh():
            from ndogo.compressors.fresh import fresh

            return fresh(source, draft, step, run.seed, report)
        case Adapt() | Distil():
            from ndogo.compressors.distillation import TrainingRun, distil
            from ndogo.core.architectures import positions
            from ndogo.core.models import load_config

            training = TrainingRun(
                lines=text.lines,
                fingerprint=run.corpus,
                work=store.work(request.key),
                held_out=text.held_out,
                seed=run.seed,
                token_cap=run.cap(step),
                report=report,
            )
            guide = store.path(request.parents["teacher"]) if "teacher" in request.parents else None
            if run.token_cap is not None:
                step = step.model_copy(update={"max_length": min(step.max_length, positions(load_config(source)))})
            return distil(source, guide, draft, step, training)
    raise AssertionError(step)
