"""The pipeline: one recipe, one language, from a teacher to a small model in the registry."""

from pathlib import Path

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from ndogo.flows import links, plain_refusals
from ndogo.flows.closing import close
from ndogo.flows.form import Language, ModeName, ProfileName, RecipeName, Seed, chosen
from ndogo.flows.submission import Submitted, outcome, submit
from ndogo.registry.bundles import open_store
from ndogo.tasks import forecast, notes, publication
from ndogo.tasks.baselines import with_baselines
from ndogo.tasks.run import Asked, resolve

plain_refusals.install()


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
    profile: ProfileName = "default",
    seed: Seed = 0,
    teacher: str = "",
    mode: ModeName = "default",
    baselines: bool = False,
) -> str:
    """Make a small model of a language and prove what it retains.

    Args:
        language: The language, or a group such as comet-five.
        recipe: The steps that turn the teacher into a small model.
        profile: Where teacher, text and benchmarks come from; default $NDOGO_PROFILE, else pocket.
        seed: Of training and of whatever else is drawn.
        teacher: A model directory, or a known teacher's name with the hub profile; default: the profile's own.
        mode: How models are judged. probe is fast; finetune trains all weights; own: by their task head's answers; adapter trains
            adapters in a frozen encoder. Default: own where the recipe makes a task model, else probe.
        baselines: Also make and judge what the recipe must beat: untrained, from scratch, cut, trimmed. About doubles the work.

    """
    asked = Asked(language, recipe, chosen(profile), seed, teacher, chosen(mode), baselines=baselines)
    run = resolve(open_store(), flow_run.id, asked)
    with notes.opened(run, **links.to_flow_run()):
        for line in forecast.told([run]):
            get_run_logger().info(line)
        work = submit([run], Submitted())
        if baselines:
            outcome(run, work)  # from scratch reads as many tokens as the recipe turns out to have read
            run = with_baselines(run)
            submit([run], work)
        made = publication.publish(run, *outcome(run, work))
        for line in links.told(run.store, made):  # where `prefect deployment run ... --watch` ends
            get_run_logger().info(line)
        return made


def run_name(language: str, recipe: str, seed: int, **_: object) -> str:
    """For people: `swahili-two-step-0`."""
    return f"{language}-{Path(recipe).stem}-{seed}"
