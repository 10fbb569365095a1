"""What a flow hands to Prefect: every step and evaluation of its runs once, in the order of the DAG."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prefect.futures import PrefectFuture

from ndogo.registry.bundles import Bundle
from ndogo.tasks import evaluation, steps
from ndogo.tasks.run import Run
from ndogo.tasks.sharing import sharing_evaluations, sharing_steps

T = TypeVar("T")


@dataclass(frozen=True)
class Submitted:
    """The steps and evaluations that were handed to Prefect, as futures by their keys; both grow. A bundle stands for itself."""

    made: dict[str, Any] = field(default_factory=dict)
    judged: dict[str, Any] = field(default_factory=dict)


def submit(runs: Sequence[Run], work: Submitted) -> Submitted:
    """Submit what `work` lacks: each step once, after what it needs; evaluations after their models."""
    made, judged = work.made, work.judged
    made |= {run.original: Bundle("original", run.original) for run in runs}
    title = "{1}" if len(runs) == 1 else "{0.name}: {1}"
    for key, owners in sharing_steps(runs, made).items():
        run, name = owners[0]
        step = run.recipe.step(name)
        parents = {role: made[parent] for role, parent in run.requests()[name].parents.items()}
        named = steps.make.with_options(
            name=step.title, task_run_name=title.format(run, name), tags=steps.tags_of(step)
        )
        made[key] = named.submit(owners, parents)
    for key, owners in sharing_evaluations(runs, judged).items():
        run, name = owners[0]
        titled = evaluation.judge.with_options(name="Evaluate", task_run_name=title.format(run, f"evaluate {name}"))
        judged[key] = titled.submit(owners, made[run.bundle_keys()[name]])
    return work


def outcome(run: Run, work: Submitted) -> tuple[Bundle, dict[str, str]]:
    """A run's small model and its evaluations; the first failure is raised as it was."""
    keys = run.bundle_keys()
    bundles = {name: result(work.made[key]) for name, key in keys.items()}
    return bundles[run.recipe.last], {name: result(work.judged[run.asks(name)]) for name in run.evaluated()}


def result(future: T | PrefectFuture[T]) -> T:
    """What a future gives; what is there already is given as it is."""
    return future.result() if isinstance(future, PrefectFuture) else future
