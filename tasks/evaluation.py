"""Judging a model: one task per model, whose record is found again as long as nothing that decides a score has changed."""

import hashlib
from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from evaluation import evaluate
from evaluation.judge import RECORD_VERSION, versions
from registry.benchmarks import benchmarks
from registry.bundles import Bundle, Store, canonical
from tasks import notes
from tasks.progress import reporter
from tasks.run import Run

EVALUATIONS = "evaluations"


@task(cache_policy=NO_CACHE, persist_result=False)
def judge(run: Run, name: str, bundle: Bundle) -> "str | State[str]":
    """Find or make the evaluation of a model; the key of its record."""
    found_benchmarks = benchmarks(run.language, run.profile)
    content = {
        "bundle": bundle.key,
        "version": RECORD_VERSION,
        "settings": run.settings.model_dump(mode="json"),
        "benchmarks": [getattr(b, "fingerprint", lambda problem=b: str(problem))() for b in found_benchmarks],
        "versions": versions(),
    }
    key = hashlib.sha256(canonical(content).encode()).hexdigest()[:20]
    store, report = Store(), reporter(run, f"evaluate-{name}")
    record, found = store.record(
        EVALUATIONS, key, lambda: evaluate(store.path(bundle), found_benchmarks, run.settings, report)
    )
    notes.note_evaluation(run, name, key, {"metrics": metrics_of(record), "problems": record["problems"]})
    return Completed(name="Cached", message=f"found evaluation {key}", data=key) if found else key


def metrics_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Mean and standard deviation of every benchmark, by the names that all stages share."""
    found: dict[str, float] = {}
    for name, result in record["benchmarks"].items():
        found[name] = result["mean"]
        found[f"{name}_std"] = result["std"]
    found["score"] = sum(r["mean"] for r in record["benchmarks"].values()) / len(record["benchmarks"])
    return found
