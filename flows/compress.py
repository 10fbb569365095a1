"""The pipeline: one recipe, one language, from a teacher to a small model in the registry."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from ndogo.flows.closing import close
from ndogo.registry.bundles import Bundle
from ndogo.registry.corpora import Profile
from ndogo.registry.languages import languages
from ndogo.registry.recipes import recipe_names
from ndogo.tasks import evaluation, notes, publication, steps
from ndogo.tasks.baselines import with_baselines
from ndogo.tasks.run import Run, resolve, sharing_evaluations, sharing_steps

Language = Annotated[str, Field(json_schema_extra={"enum": list(languages())})]
RecipeName = Annotated[str, Field(json_schema_extra={"enum": recipe_names()})]
Seed = Annotated[int, Field(ge=0)]
Mode = Annotated[str, Field(pattern="^(probe|finetune)$")]


@flow(
    flow_run_name=lambda: run_name(**flow_run.parameters),
    task_runner=ThreadPoolTaskRunner(max_workers=1),  # type: ignore[arg-type]  # one compute step at a time (docs/design.md)
    on_failure=[close],
    on_crashed=[close],
    on_cancellation=[close],
    persist_result=False,
)
def compress(  # noqa: PLR0913  # its parameters are the form in the UI
    language: Language,
    recipe: RecipeName = "ndogo-small",
    profile: Profile | None = None,
    seed: Seed = 0,
    teacher: str = "",
    mode: Mode = "probe",
    baselines: bool = False,
) -> str:
    """Make a small model of a language and prove what was kept.

    Args:
        language: The language, or a group such as comet-five.
        recipe: The steps that turn the teacher into a small model.
        profile: Where teacher, text and benchmarks come from; default $NDOGO_PROFILE, else pocket.
        seed: Of training and of whatever else is drawn.
        teacher: A model directory, or a known teacher's name with the hub profile; default: the profile's own.
        mode: How models are judged. probe is fast; finetune trains all weights.
        baselines: Also make and judge what the recipe must beat: untrained, from scratch, cut, trimmed. About doubles the work.

    """
    run = resolve(flow_run.id, language, recipe, profile, seed, teacher=teacher, mode=mode)
    with notes.opened(run):
        made, judged = chain([run], {}, {})
        if baselines:
            outcome(run, made, judged)  # from scratch reads as many tokens as the recipe turns out to have read
            run = with_baselines(run)
            chain([run], made, judged)
        return publication.publish(run, *outcome(run, made, judged))


def chain(runs: Sequence[Run], made: dict[str, Any], judged: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Submit what is not yet in `made` and `judged`: each step once, after what it needs; evaluations after their models."""
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
    return made, judged


def outcome(run: Run, made: dict[str, Any], judged: dict[str, Any]) -> tuple[Bundle, dict[str, str]]:
    """A run's small model and its evaluations; the first failure is raised as it was."""
    keys = run.bundle_keys()
    bundles = {name: result(made[key]) for name, key in keys.items()}
    return bundles[run.recipe.last], {name: result(judged[run.asks(name)]) for name in run.evaluated()}


def result(future: Any) -> Any:
    """What a future gives; what is there already is given as it is."""
    return future.result() if isinstance(future, PrefectFuture) else future


def run_name(language: str, recipe: str, seed: int, **_: object) -> str:
    """For people: `swahili-two-step-0`."""
    return f"{language}-{Path(recipe).stem}-{seed}"
