"""What is left to do when a flow run ends badly."""

from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from prefect.states import State

from ndogo.tasks import notes


def close(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """Close the record of a run that failed, crashed or was cancelled, so that nothing stays RUNNING in MLflow."""
    notes.close(str(flow_run.id), "REFUSED" if "gate" in (state.message or "") else "FAILED")
