"""The two servers' pages of a run, and the sentence with which a run ends."""

from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from ndogo.flows.without_server import is_temporary
from ndogo.registry.bundles import Store
from ndogo.registry.model_registry import page_of
from ndogo.tasks.descriptions import PREFECT, result
from ndogo.tasks.run_record import RUNS, RunRecord


def to_flow_run() -> dict[str, str]:
    """The tag with the page of the current flow run; nothing where its server ends with it."""
    if is_temporary(get_current_settings().api.url) or not flow_run.ui_url:
        return {}
    return {PREFECT: flow_run.ui_url}


def told(store: Store, run_id: str) -> list[str]:
    """A run in a few lines: score, size, where the model lies, and its page in MLflow."""
    record = store.read_record(RUNS, run_id, RunRecord)
    assert record is not None, "the run has just ended"
    lines = [f"{record.name}: {result(record)}"]
    if "score" in record.summary:
        lines[0] += f" Score {100 * record.summary['score']:.1f}."
    lines.append(f"model: {store.path(record.steps[record.last].key)}")
    if record.mlflow.parent:
        lines.append(f"MLflow: {page_of(store, record.mlflow.experiment, record.mlflow.parent.run_id)}")
    return lines
