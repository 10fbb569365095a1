"""Judging a model: one task per model, whose record is found again as long as nothing that decides a score has changed."""

import hashlib
from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from ndogo.core.errors import NdogoError
from ndogo.core.exported import FOLDER, MANIFEST
from ndogo.core.progress import Report
from ndogo.evaluation import Broken, Evaluation, LanguageModelSettings, evaluate
from ndogo.evaluation.judge import RECORD_VERSION, versions
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import Bundle, canonical
from ndogo.registry.corpora import corpus
from ndogo.registry.hub import Hub
from ndogo.tasks import notes
from ndogo.tasks.progress import reporter
from ndogo.tasks.run import Owner, Run
from ndogo.tasks.run_record import EvaluationNote

EVALUATIONS = "evaluations"
LANGUAGE_MODEL = LanguageModelSettings(lines=100, words=2)
"""A small sample: enough to see a step's effect in bits per byte."""


@task(cache_policy=NO_CACHE, persist_result=False)
def judge(owners: Sequence[Owner], bundle: Bundle) -> "str | State[str]":
    """Find or make the evaluation of a model that one run or several ask for; the key of its record."""
    run, name = owners[0]
    key, judged, found = evaluated(run, bundle, reporter(run, f"evaluate-{name}"))
    note = EvaluationNote(key=key, metrics=metrics_of(judged), problems=judged.problems)
    for owner, own_name in owners:
        notes.note_evaluation(owner, own_name, note)
    return Completed(name="Cached", message=f"found evaluation {key}", data=key) if found else key


def evaluated(run: Run, bundle: Bundle, report: Report) -> tuple[str, Evaluation, bool]:
    """A bundle's evaluation on a run's benchmarks, found or made: its key, itself, and whether it was found."""
    rows = benchmarks(run.language, run.profile, Hub(run.sources.benchmarks))
    content = {
        "bundle": bundle.key,
        "version": RECORD_VERSION,
        "settings": run.settings.model_dump(mode="json"),
        "benchmarks": [f"{b.name} cannot be read" if isinstance(b, Broken) else b.fingerprint() for b in rows],
        "versions": versions(),
        "language_model": [LANGUAGE_MODEL.model_dump(mode="json"), run.corpus],
    }
    key = hashlib.sha256(canonical(content).encode()).hexdigest()[:20]

    def measure() -> Evaluation:
        from ndogo.core.models import load_config
        from ndogo.evaluation import language_model_quality
        from ndogo.evaluation.exported import load_exported

        folder = run.store.path(bundle)
        if (folder / FOLDER / MANIFEST).is_file():  # what an export adds is its files, so one of them is judged
            return evaluate(load_exported(folder), rows, run.settings, report)
        judged = evaluate(folder, rows, run.settings, report)
        if not (load_config(folder).architectures or [""])[0].endswith("ForMaskedLM"):
            return judged
        held_out = corpus(run.language, run.profile, Hub(run.sources.corpus)).held_out
        try:
            quality = language_model_quality(folder, held_out, LANGUAGE_MODEL, report)
        except NdogoError as error:  # the benchmarks' numbers stay, as when one of them fails
            return judged.model_copy(update={"problems": {**judged.problems, "language model": str(error)}})
        return judged.model_copy(update={"language_model": quality})

    judged, found = run.store.record(EVALUATIONS, key, Evaluation, measure)
    return key, judged, found


def metrics_of(judged: Evaluation) -> dict[str, float]:
    """Mean and standard deviation of every benchmark, by the names that all stages share."""
    found: dict[str, float] = {}
    for name, scores in judged.benchmarks.items():
        found[name] = scores.mean
        if scores.std is not None:  # one seed has none
            found[f"{name}_std"] = scores.std
    if quality := judged.language_model:
        found |= {"bits_per_byte": quality.bits_per_byte, "word_accuracy": quality.word_accuracy}
    found["score"] = sum(scores.mean for scores in judged.benchmarks.values()) / len(judged.benchmarks)
    return found
