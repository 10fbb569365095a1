"""Judging a model: one task per model, whose record is found again as long as nothing that decides a score has changed."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from ndogo.core.errors import NdogoError
from ndogo.core.exported import FOLDER, MANIFEST
from ndogo.core.progress import Report
from ndogo.evaluation import LanguageModelSettings, evaluate
from ndogo.evaluation.judge import RECORD_VERSION, versions
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import Bundle, Store, canonical
from ndogo.registry.corpora import corpus
from ndogo.tasks import notes
from ndogo.tasks.progress import reporter
from ndogo.tasks.run import Owner, Run

EVALUATIONS = "evaluations"
LANGUAGE_MODEL = LanguageModelSettings(lines=100, words=2)
"""A small sample: enough to see a step's effect in bits per byte."""
LANGUAGE_MODEL_NUMBERS = ("bits_per_byte", "word_accuracy")


@task(cache_policy=NO_CACHE, persist_result=False)
def judge(owners: Sequence[Owner], bundle: Bundle) -> "str | State[str]":
    """Find or make the evaluation of a model that one run or several ask for; the key of its record."""
    run, name = owners[0]
    key, record, found = evaluated(run, bundle, reporter(run, f"evaluate-{name}"))
    for owner, own_name in owners:
        notes.note_evaluation(owner, own_name, key, {"metrics": metrics_of(record), "problems": record["problems"]})
    return Completed(name="Cached", message=f"found evaluation {key}", data=key) if found else key


def evaluated(run: Run, bundle: Bundle, report: Report) -> tuple[str, dict[str, Any], bool]:
    """Key and record of a bundle's evaluation on a run's benchmarks, found or made, and whether it was found."""
    rows = benchmarks(run.language, run.profile)
    content = {
        "bundle": bundle.key,
        "version": RECORD_VERSION,
        "settings": run.settings.model_dump(mode="json"),
        "benchmarks": [getattr(b, "fingerprint", lambda problem=b: str(problem))() for b in rows],
        "versions": versions(),
        "language_model": [LANGUAGE_MODEL.model_dump(mode="json"), run.corpus],
    }
    key = hashlib.sha256(canonical(content).encode()).hexdigest()[:20]
    store = Store()

    def measure() -> dict[str, Any]:
        from ndogo.core.models import load_config
        from ndogo.evaluation import language_model_quality
        from ndogo.evaluation.exported import load_exported

        folder = store.path(bundle)
        if (folder / FOLDER / MANIFEST).is_file():  # what an export adds is its files, so one of them is judged
            return evaluate(load_exported(folder), rows, run.settings, report)
        record = evaluate(folder, rows, run.settings, report)
        if (load_config(folder).architectures or [""])[0].endswith("ForMaskedLM"):
            held_out = corpus(run.language, run.profile).held_out
            try:
                record["language_model"] = language_model_quality(folder, held_out, LANGUAGE_MODEL, report)
            except NdogoError as error:  # the benchmarks' numbers stay, as when one of them fails
                record["problems"]["language model"] = str(error)
        return record

    record, found = store.record(EVALUATIONS, key, measure)
    return key, record, found


def metrics_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Mean and standard deviation of every benchmark, by the names that all stages share."""
    found: dict[str, float] = {}
    for name, result in record["benchmarks"].items():
        found[name] = result["mean"]
        if result["std"] is not None:  # one seed has none
            found[f"{name}_std"] = result["std"]
    found |= {name: record["language_model"][name] for name in LANGUAGE_MODEL_NUMBERS if "language_model" in record}
    found["score"] = sum(r["mean"] for r in record["benchmarks"].values()) / len(record["benchmarks"])
    return found
