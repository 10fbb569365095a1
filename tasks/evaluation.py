"""Judging a model: one task per model, whose record is found again as long as nothing that decides a score has changed."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from ndogo.core.device import chosen
from ndogo.core.errors import NdogoError
from ndogo.core.exported import FOLDER, MANIFEST
from ndogo.core.faults import in_frame
from ndogo.core.progress import Report
from ndogo.core.text import Lines, fingerprint
from ndogo.evaluation import Benchmark, Broken, Evaluation, LanguageModelScores, LanguageModelSettings, evaluate
from ndogo.evaluation.judge import RECORD_VERSION, versions
from ndogo.evaluation.records import Agreement, BenchmarkScores, DroppedColumns
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import Bundle, canonical, logs
from ndogo.registry.corpora import Profile, corpus
from ndogo.registry.hub import Hub
from ndogo.registry.parallel import vector_texts
from ndogo.tasks import notes
from ndogo.tasks.progress import reporter
from ndogo.tasks.run import Owner, Run
from ndogo.tasks.run_record import EvaluationNote

if TYPE_CHECKING:
    from ndogo.evaluation.encoder import Encoder
    from ndogo.evaluation.vectors import VectorTexts

EVALUATIONS, DROPPED = "evaluations", "dropped-columns"
LANGUAGE_MODEL_NAME = "language model"
"""Where its problem stands; all other problems are those of benchmarks."""
LANGUAGE_MODEL = LanguageModelSettings(lines=100, words=2)
"""A small sample: enough to see a step's effect in bits per byte."""


@task(cache_policy=NO_CACHE, persist_result=False)
@in_frame("an evaluation", logs)
def judge(owners: Sequence[Owner], bundle: Bundle) -> "str | State[str]":
    """Find or make the evaluation of a model that one run or several ask for; the key of its record."""
    run, name = owners[0]
    with reporter(run, f"evaluate-{name}") as report:
        key, judged, found = evaluated(run, bundle, report)
    note = EvaluationNote(
        key=key, metrics=metrics_of(judged), benchmarks=list(judged.benchmarks), problems=judged.problems
    )
    for owner, own_name in owners:
        notes.note_evaluation(owner, own_name, note)
    return Completed(name="Cached", message=f"found evaluation {key}", data=key) if found else key


def evaluated(run: Run, bundle: Bundle, report: Report) -> tuple[str, Evaluation, bool]:
    """A bundle's evaluation on a run's benchmarks, found or made: its key, itself, and whether it was found."""
    rows, texts = _read(run)
    key = evaluation_key(run, bundle, rows, texts)

    def measure() -> Evaluation:
        from ndogo.core.models import load_config
        from ndogo.evaluation.encoder import load_encoder, load_with_head
        from ndogo.evaluation.exported import load_exported

        folder = run.store.path(bundle)
        exported = (folder / FOLDER / MANIFEST).is_file()  # what an export adds is its files, so one of them is judged
        own = run.settings.mode == "own"
        encoder = load_exported(folder) if exported else (load_with_head if own else load_encoder)(folder)
        judged = evaluate(encoder, rows, run.settings, report)
        if own:
            return judged.model_copy(update={"agreement": _agreement(run, bundle, report)})
        if texts is not None:
            judged = judged.model_copy(update={"vectors": _vectors(run, encoder, texts, report)})
        if exported or not (load_config(folder).architectures or [""])[0].endswith("ForMaskedLM"):
            return judged
        try:
            quality = _language_model(run, bundle, report)
        except NdogoError as error:  # the benchmarks' numbers stay, as when one of them fails
            return judged.model_copy(update={"problems": {**judged.problems, LANGUAGE_MODEL_NAME: str(error)}})
        return judged.model_copy(update={"language_model": quality})

    judged, found = run.store.record(EVALUATIONS, key, Evaluation, measure)
    return key, judged, found


def key_of(run: Run, bundle: str) -> str:
    """The key of the evaluation of a bundle, which need not be there yet."""
    return evaluation_key(run, Bundle("", bundle), *_read(run))


def _read(run: Run) -> "tuple[list[Benchmark | Broken], VectorTexts | None]":
    """What a run's models are judged on."""
    rows = benchmarks(run.language, run.profile, Hub(run.sources.benchmarks), run.settings.asks)
    return rows, texts_of_vectors(run, rows) if run.judges_vectors else None


def evaluation_key(
    run: Run, bundle: Bundle, rows: Sequence[Benchmark | Broken], texts: "VectorTexts | None" = None
) -> str:
    """Names an evaluation by all that decides its numbers: model, rows, texts, settings, code and libraries."""
    beside = {} if texts is None else {"vectors": [texts.fingerprint(), run.original]}
    beside |= {"teacher": [run.bundle_keys()[run.reference]]} if run.settings.mode == "own" else {}
    return _key(
        beside
        | _device()
        | {
            "bundle": bundle.key,
            "version": RECORD_VERSION,
            "settings": run.settings.model_dump(mode="json"),
            "benchmarks": [f"{b.name} cannot be read" if isinstance(b, Broken) else b.fingerprint() for b in rows],
            "versions": versions(),
            "language_model": [LANGUAGE_MODEL.model_dump(mode="json"), run.corpus, held_out_fingerprint(run)],
        }
    )


def texts_of_vectors(run: Run, rows: Sequence[Benchmark | Broken]) -> "VectorTexts":
    """What a run's sentence vectors are judged on."""
    return vector_texts(corpus(run.language, run.profile, Hub(run.sources.corpus)), rows, Hub(run.sources.benchmarks))


def _vectors(run: Run, encoder: "Encoder", texts: "VectorTexts", report: Report) -> dict[str, BenchmarkScores]:
    from ndogo.evaluation.vectors import Embedder, judge_vectors

    return judge_vectors(Embedder(encoder), run.store.path(run.original), texts, report)


def _agreement(run: Run, bundle: Bundle, report: Report) -> Agreement | None:
    """How often a task model answers as the run's own teacher does, on held-out text; None for the teacher itself."""
    from ndogo.evaluation import agreement

    teacher = run.bundle_keys()[run.reference]
    if bundle.key == teacher:
        return None
    text = corpus(run.language, run.profile, Hub(run.sources.corpus))
    folders = run.store.path(bundle), run.store.path(teacher)
    return agreement(*folders, text.held_out, run.settings, report)


def _language_model(run: Run, bundle: Bundle, report: Report) -> LanguageModelScores:
    from ndogo.evaluation import language_model_quality

    text = corpus(run.language, run.profile, Hub(run.sources.corpus))
    dropped = _dropped(run, bundle, text.held_out, report)
    return language_model_quality(run.store.path(bundle), text.held_out, (text.lines,), LANGUAGE_MODEL, report, dropped)


def _dropped(run: Run, bundle: Bundle, held_out: Lines, report: Report) -> float:
    """Bits per byte for the columns that the trims of a bundle's lineage dropped, each measured once with the model before it."""
    from ndogo.evaluation import dropped_columns, retained_columns

    store, key, bits = run.store, bundle.key, 0.0
    while before := store.details(key).parents.get("student", ""):
        if retained := retained_columns(store.path(key), store.path(before)):
            asked = [key, before, RECORD_VERSION, LANGUAGE_MODEL.model_dump(mode="json"), held_out_fingerprint(run)]
            asked += [_device()] if _device() else []

            def measure(untrimmed: str = before, columns: Sequence[int] = retained) -> DroppedColumns:
                found = dropped_columns(store.path(untrimmed), columns, held_out, LANGUAGE_MODEL, report)
                return DroppedColumns(bits_per_byte=found)

            bits += store.record(DROPPED, _key([asked, versions()]), DroppedColumns, measure)[0].bits_per_byte
        key = before
    return bits


def held_out_fingerprint(run: Run) -> str:
    """Names the text that a run's models are judged on as language models."""
    return _held_out_fingerprint(run.language, run.profile, run.corpus, tuple(run.sources.corpus.items()))


@lru_cache(maxsize=32)  # of one corpus, which `text` names, it is read once in a process
def _held_out_fingerprint(language: str, profile: Profile, text: str, commits: tuple[tuple[str, str], ...]) -> str:
    return fingerprint(corpus(language, profile, Hub(dict(commits))).held_out)


def _device() -> dict[str, str]:
    """Another device gives other last digits; on the CPU keys are as they were before there was a choice."""
    device = chosen()
    return {} if device == "cpu" else {"device": device}


def _key(content: object) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:20]


def metrics_of(judged: Evaluation) -> dict[str, float]:
    """Mean and standard deviation of every benchmark, by the names that all stages share; `score` is the mean of these."""
    found: dict[str, float] = {}
    for name, scores in judged.benchmarks.items():
        found[name] = scores.mean
        if scores.std is not None:  # one seed has none
            found[f"{name}_std"] = scores.std
    if quality := judged.language_model:
        found |= {"bits_per_byte": quality.bits_per_byte, "word_accuracy": quality.word_accuracy}
    if agreed := judged.agreement:
        found |= {"agreement": agreed.equal, f"agreement_{agreed.metric}": agreed.score}
    found |= {name: scores.mean for name, scores in judged.vectors.items()}
    found["score"] = sum(scores.mean for scores in judged.benchmarks.values()) / len(judged.benchmarks)
    return found
