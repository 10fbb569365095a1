"""The view of an experiment in MLflow: which recipe retains most at which size.

It is a shared view of MLflow's own UI (a tag on the experiment), not a documented API: a test guards it.
"""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "ndogo"
TAG = f"mlflow.sharedViewState.{KEY}"
NOTE = "mlflow.note.content"
FILTER = "tags.level = 'pipeline' and attributes.status = 'FINISHED'"
"""Finished runs that made something new: refused ones failed, and one that repeats another is of another level."""
COLUMNS = (
    "params.`recipe`",
    "params.`seed`",
    "tags.`profile`",
    "metrics.`params`",
    "metrics.`size_mb`",
    "metrics.`compression_ratio`",
    "metrics.`reduction_percent`",
    "metrics.`retention`",
    "metrics.`sentiment`",
    "metrics.`topic`",
    "metrics.`ner`",
    "metrics.`pos`",
    "metrics.`latency_ms`",
)


def view_path(experiment_id: str, charts: bool = True) -> str:
    """The address of the view below the server's own."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={KEY}{mode}"


def describe(mlflow: "MlflowClient", experiment_id: str) -> None:
    """Give an experiment its view and a note that links to it; nothing happens where they are there already."""
    tags = mlflow.get_experiment(experiment_id).tags
    state = json.dumps(_state(), sort_keys=True)
    note = (
        "Which recipe retains most at which size: "
        f"**[charts]({view_path(experiment_id)})**, **[table]({view_path(experiment_id, charts=False)})**. "
        "One row per run; its steps are its child runs."
    )
    for key, value in ((TAG, state), (NOTE, note)):
        if tags.get(key) != value:
            mlflow.set_experiment_tag(experiment_id, key, value)


def _state() -> dict[str, object]:
    section, wide = "ndogo", "ndogo-wide"
    metric = {"type": "METRIC"}
    scatter: dict[str, object] = {
        "uuid": "size-retention",
        "type": "SCATTER",
        "metricSectionId": section,
        "runsCountToCompare": 100,
        "xaxis": {"key": "compression_ratio", **metric},
        "yaxis": {"key": "retention", **metric},
    }
    parallel: dict[str, object] = {
        "uuid": "parallel",
        "type": "PARALLEL",
        "metricSectionId": wide,
        "runsCountToCompare": 100,
        "selectedParams": ["recipe"],
        "selectedMetrics": ["size_mb", "retention", "sentiment", "topic", "ner", "pos"],
        "showAllRuns": True,
    }
    bars: list[dict[str, object]] = [
        {"uuid": key, "type": "BAR", "metricSectionId": section, "runsCountToCompare": 100, "metricKey": key}
        for key in ("retention", "size_mb")
    ]
    return {
        "searchFilter": FILTER,
        "orderByKey": "metrics.`size_mb`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(COLUMNS),
        "runsHiddenMode": "SHOW_ALL",
        "runsPinned": [],
        "runsHidden": [],
        "runsExpanded": {},
        "compareRunSections": [
            _section(wide, "Recipe, size, quality", columns=1),
            _section(section, "Size and quality", columns=2),
        ],
        "compareRunCharts": [{**chart, "deleted": False, "isGenerated": False} for chart in (scatter, *bars, parallel)],
    }


def _section(name: str, title: str, columns: int) -> dict[str, object]:
    return {
        "uuid": name,
        "name": title,
        "display": True,
        "columns": columns,
        "cardHeight": 420,
        "isReordered": False,
    }
