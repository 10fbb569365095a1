"""The deployments: `compress/<language>` for every language, nightly in its own time zone, and the sweep."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect import serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.schedules import Cron
from prefect.states import Scheduled

from ndogo.flows import alarm, automations
from ndogo.flows.compress import compress
from ndogo.flows.sweep import sweep
from ndogo.registry.bundles import Store, open_store
from ndogo.registry.languages import languages
from ndogo.tasks import notes

NIGHTLY = "0 2 * * *"
TAG = "ndogo"
COMPARED: dict[str, list[str] | list[int]] = {
    "languages": ["swahili"],
    "recipes": ["ndogo-small", "two-step", "trim-only"],
    "seeds": [0, 1, 2],
}
"""What the sweep compares unless asked otherwise."""
ZOMBIES = Path(__file__).with_name("zombies.yaml")


def deployments() -> list[RunnerDeployment]:
    """One deployment per language of the registry, those that a user added included, and the sweep."""
    nightly = [
        RunnerDeployment.from_flow(
            compress,
            name=name,
            description=f"A small model of {entry.title or name}. `prefect deployment run compress/{name} --watch`",
            parameters={"language": name},
            schedules=[Cron(NIGHTLY, timezone=entry.timezone, slug="nightly")] if entry.nightly else [],
            tags=[TAG],
        )
        for name, entry in languages().items()
    ]
    about = "Recipes side by side. `prefect deployment run sweep/recipes --watch`"
    return [
        *nightly,
        RunnerDeployment.from_flow(sweep, name="recipes", description=about, parameters=COMPARED, tags=[TAG]),
    ]


def ensure_automation() -> None:
    """A run whose machine died is marked Crashed when its heartbeat stays away; switched off by hand, it stays off."""
    wanted = AutomationCore.model_validate(yaml.safe_load(ZOMBIES.read_text(encoding="utf-8")))

    def renewed(there: dict[str, Any]) -> dict[str, Any]:
        return wanted.model_copy(update={"enabled": there["enabled"]}).model_dump(
            mode="json", exclude={"owner_resource"}
        )

    automations.ensure(wanted.model_dump(mode="json"), renewed)


def take_up_killed_runs(store: Store) -> None:
    """Schedule again what was running when this process or its machine was killed: finished steps are found, training resumes."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    killed = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CRASHED])),
        tags=FlowRunFilterTags(all_=[TAG]),
        start_time=FlowRunFilterStartTime.model_validate({"after_": yesterday}),
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=killed):
            if any(notes.was_killed(store, opened) for opened in notes.of_flow_run(store, str(run.id))):
                client.set_flow_run_state(run.id, Scheduled(message="taken up again after a kill"), force=True)


def main() -> None:
    """Serve all deployments from this process, one run at a time; schedules go on after a restart."""
    ensure_automation()
    alarm.ensure()
    take_up_killed_runs(open_store())
    serve(*deployments(), limit=1, pause_on_shutdown=False, print_starting_message=False)


if __name__ == "__main__":
    main()
