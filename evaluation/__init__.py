"""Evaluation that can be believed: judges any Hugging Face encoder directory, ours or not. Imports no torch by itself."""

from typing import TYPE_CHECKING, Any

from ndogo.evaluation.judge import evaluate
from ndogo.evaluation.report import ROLES, Entry, Role, markdown, rich_table, summary, write_report
from ndogo.evaluation.retention import retention
from ndogo.evaluation.rows import KINDS, Benchmark, Broken, checked, collect, json_rows, kind_of, read_local
from ndogo.evaluation.settings import CostSettings, EvaluationSettings, LanguageModelSettings

if TYPE_CHECKING:
    from ndogo.evaluation.costs import cost, latency
    from ndogo.evaluation.language_model import language_model_quality, refuse_overlap

__all__ = [
    "KINDS",
    "ROLES",
    "Benchmark",
    "Broken",
    "CostSettings",
    "Entry",
    "EvaluationSettings",
    "LanguageModelSettings",
    "Role",
    "checked",
    "collect",
    "cost",
    "evaluate",
    "json_rows",
    "kind_of",
    "language_model_quality",
    "latency",
    "markdown",
    "read_local",
    "refuse_overlap",
    "retention",
    "rich_table",
    "summary",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is first asked for."""
    if name in ("cost", "latency"):
        from ndogo.evaluation import costs

        return getattr(costs, name)
    if name in ("language_model_quality", "refuse_overlap"):
        from ndogo.evaluation import language_model

        return getattr(language_model, name)
    raise AttributeError(f"module `evaluation` has no attribute `{name}`")
