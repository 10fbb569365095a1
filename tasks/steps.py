"""One task per step of a recipe: find its bundle, or make it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from ndogo.core.faults import in_frame
from ndogo.core.progress import Report
from ndogo.core.text import WeightedLines
from ndogo.registry.benchmarks import benchmark_of
from ndogo.registry.bundles import Bundle, BundleRequest, logs
from ndogo.registry.corpora import corpus
from ndogo.registry.hub import Hub
from ndogo.registry.languages import language
from ndogo.steps.step import Context, Step
from ndogo.steps.step import make as make_step
from ndogo.tasks import notes
from ndogo.tasks.progress import reporter
from ndogo.tasks.run import Owner, Run

GPU = "gpu"
"""Tag of the steps that use a GPU where there is one. `prefect concurrency-limit create gpu 1` lets one run at a time."""


@task(cache_policy=NO_CACHE, persist_result=False)
@in_frame("a step", logs)
def make(owners: Sequence[Owner], parents: Mapping[str, Bundle]) -> "Bundle | State[Bundle]":
    """Find or make the bundle of a step that one run or several need; a found one ends in the state Cached.

    `parents` are the bundles it needs, by role: they are there when this starts.
    """
    run, name = owners[0]
    started = time.monotonic()
    with reporter(run, name) as report:
        bundle, found = find_or_make(run, name, report)
    for owner, own_name in owners:
        shared = found or owner is not run
        seconds = time.monotonic() - started
        notes.note_step(owner, owner.recipe.step(own_name), bundle, parents, found=shared, seconds=seconds)
    return Completed(name="Cached", message=f"found {bundle.key} in the store", data=bundle) if found else bundle


def tags_of(step: Step | type[Step]) -> list[str]:
    """Tags of a step's task: whether it counts against the limit of GPU steps. For each tag Prefect asks its server first, and
    may wait two seconds.
    """
    return [GPU] if step.trains or step.reads_rows else []


def find_or_make(run: Run, name: str, report: Report) -> tuple[Bundle, bool]:
    """The bundle of a run's step, whose parents are in the store, and whether it was found; no Prefect is needed."""
    step, request = run.recipe.step(name), run.requests()[name]
    return run.store.find_or_make(request, lambda draft: build(run, step, request, draft, report))


def build(run: Run, step: Step, request: BundleRequest, draft: Path, report: Report) -> Mapping[str, Any]:
    """Make a step's result from its parents' directories."""
    text = corpus(run.language, run.profile, Hub(run.sources.corpus), step.part)
    context = Context(
        texts=(WeightedLines(text.lines, 1.0, run.language),),
        held_out=text.validation,
        fingerprint=run.corpus if step.part is None else text.fingerprint(),
        seed=run.seed,
        token_cap=run.cap(step),
        work=run.store.work(request.key),
        teacher_cache=run.store.folder,
        rows=lambda name: benchmark_of(name, language(run.language), run.profile, Hub(run.sources.benchmarks)),
        report=report,
    )
    return make_step(step, {role: run.store.path(key) for role, key in request.parents.items()}, draft, context)
