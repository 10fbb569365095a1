"""Evaluation that can be believed: judges any Hugging Face encoder directory, ours or not. Imports no torch by itself."""

from typing import TYPE_CHECKING

from ndogo.evaluation.judge import evaluate
from ndogo.evaluation.overlap import refuse_overlap
from ndogo.evaluation.records import Cost, Costs, Evaluation, GapClosed, LanguageModelScores, Latency, Retention
from ndogo.evaluation.report import write_report
from ndogo.evaluation.retention import gap_closed, retention
from ndogo.evaluation.rows import KINDS, Benchmark, Broken, checked, collect, json_rows, kind_of, read_local
from ndogo.evaluation.settings import CostSettings, EvaluationSettings, LanguageModelSettings, Mode
from ndogo.evaluation.summary import ROLES, Entry, Role, Summary, summary
from ndogo.evaluation.tables import markdown, rich_table

if TYPE_CHECKING:
    from ndogo.evaluation.costs import cost, latency
    from ndogo.evaluation.language_model import (
        dropped_columns,
        language_model_quality,
        retained_columns,
    )
    from ndogo.evaluation.own import agreement

__all__ = [
    "KINDS",
    "ROLES",
    "Benchmark",
    "Broken",
    "Cost",
    "CostSettings",
    "Costs",
    "Entry",
    "Evaluation",
    "EvaluationSettings",
    "GapClosed",
    "LanguageModelScores",
    "LanguageModelSettings",
    "Latency",
    "Mode",
    "Retention",
    "Role",
    "Summary",
    "agreement",
    "checked",
    "collect",
    "cost",
    "dropped_columns",
    "evaluate",
    "gap_closed",
    "json_rows",
    "kind_of",
    "language_model_quality",
    "latency",
    "markdown",
    "read_local",
    "refuse_overlap",
    "retained_columns",
    "retention",
    "rich_table",
    "summary",
    "write_report",
]


def __getattr__(name: str) -> object:
    """What needs torch is imported when it is first asked for."""
    if name in ("cost", "latency"):
        from ndogo.evaluation import costs

        return getattr(costs, name)
    if name == "agreement":
        from ndogo.evaluation import own

        return own.agreement
    if name in ("dropped_columns", "language_model_quality", "retained_columns"):
        from ndogo.evaluation import language_model

        return getattr(language_model, name)
    raise AttributeError(f"module `evaluation` has no attribute `{name}`")
