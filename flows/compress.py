"""The pipeline: one recipe, one language, from a teacher to a small model in the registry."""

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.closing import close
from registry.bundles import Bundle
from registry.corpora import Profile
from registry.languages import languages
from registry.recipes import recipe_names
from tasks import evaluation, notes, publication, steps
from tasks.run import Run, resolve

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
def compress(
    language: Language,
    recipe: RecipeName = "two-step",
    profile: Profile | None = None,
    seed: Seed = 0,
    teacher: str = "",
    mode: Mode = "probe",
) -> str:
    """Make a small model of a language and prove what was kept.

    Args:
        language: The language, or a group such as comet-five.
        recipe: The steps that turn the teacher into a small model.
        profile: Where teacher, text and benchmarks come from; default $NDOGO_PROFILE, else pocket.
        seed: Of training and of whatever else is drawn.
        teacher: A model directory, or a known teacher's name with the hub profile; default: the profile's own.
        mode: How models are judged. probe is fast; finetune trains all weights.

    """
    run = resolve(flow_run.id, language, recipe, profile, seed, teacher=teacher, mode=mode)
    with notes.opened(run):
        bundles, judged = chain(run)
        return publication.publish(run, settled(bundles)[run.recipe.last], settled(judged))


def run_name(language: str, recipe: str, seed: int, **_: object) -> str:
    """For people: `swahili-two-step-0`."""
    return f"{language}-{Path(recipe).stem}-{seed}"


def settled(futures: dict) -> dict:
    """The results by id; the first failure is raised as it was."""
    return {name: future.result() if isinstance(future, PrefectFuture) else future for name, future in futures.items()}


def chain(run: Run) -> tuple[dict, dict]:
    """Submit every step after what it needs, and every evaluation after its model; futures by the steps' ids."""
    bundles: dict = {"original": Bundle("original", run.original)}
    for step in run.recipe.order():
        parents = {role: bundles[name] for role, name in run.recipe.parents(step).items()}
        named = steps.make.with_options(name=steps.TITLES[step.kind], task_run_name=step.id, tags=[step.kind])
        bundles[step.id] = named.submit(run, step.id, parents)
    judged = {}
    for name in run.evaluated():
        titled = evaluation.judge.with_options(name="Evaluate", task_run_name=f"evaluate {name}")
        judged[name] = titled.submit(run, name, bundles[name])
    return bundles, judged
