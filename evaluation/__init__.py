"""Evaluation that can be believed: judges any Hugging Face encoder directory, ours or not. Imports no torch by itself."""

from evaluation.judge import evaluate
from evaluation.rows import Benchmark, Broken, checked, collect, json_rows, kind_of, read_local
from evaluation.settings import EvaluationSettings

__all__ = [
    "Benchmark",
    "Broken",
    "EvaluationSettings",
    "checked",
    "collect",
    "evaluate",
    "json_rows",
    "kind_of",
    "read_local",
]
