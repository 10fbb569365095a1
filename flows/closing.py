"""What is left to do when a flow run ends badly."""

from typing import ParamSpec, TypeVar

from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.states import State

from ndogo.registry.bundles import open_store
from ndogo.tasks import notes

P = ParamSpec("P")
R = TypeVar("R")


def close(flow: Flow[P, R], flow_run: FlowRun, state: State) -> None:
    """Close the record of a run that failed, crashed or was cancelled, so that nothing stays RUNNING in MLflow."""
    notes.close(open_store(), str(flow_run.id), "REFUSED" if "gate" in (state.message or "") else "FAILED")


def close_derived(flow: Flow[P, R], flow_run: FlowRun, state: State) -> None:
    """Close what a sweep left open when it ended badly; its runs that came to their end keep their word."""
    store = open_store()
    for run_id in notes.of_flow_run(store, str(flow_run.id)):
        notes.close_open(store, run_id, "FAILED")
