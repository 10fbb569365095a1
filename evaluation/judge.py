"""One record per model: every benchmark's scores over the seeds, and what is needed to compare them with another model's."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.device import chosen
from ndogo.core.errors import NdogoError
from ndogo.core.progress import Report, silent
from ndogo.evaluation.records import BenchmarkScores, Evaluation, Spread
from ndogo.evaluation.rows import SPLITS, Benchmark, Broken
from ndogo.evaluation.settings import EvaluationSettings

if TYPE_CHECKING:  # torch is imported when a model is judged, not when the command's help is shown
    from ndogo.evaluation.encoder import Encoder
    from ndogo.evaluation.finetune import Judged

RECORD_VERSION = 4
"""Bumped by hand when the code changes a score or the record's form."""


def evaluate(
    source: "Path | Encoder",
    benchmarks: Sequence[Benchmark | Broken],
    settings: EvaluationSettings,
    report: Report = silent,
    device: str = "",
) -> Evaluation:
    """Judge a model directory (or an encoder in memory, left untouched) on every benchmark.

    A benchmark that fails stands in `problems` with its message and the others are judged all the same. Without a `device` it
    is that of the process (`core.device`).

    :raises NdogoError: the model cannot be loaded, or no benchmark could be judged.
    """
    from ndogo.core.models import parameters
    from ndogo.evaluation.encoder import load_encoder, load_with_head

    started, device = time.monotonic(), device or chosen()
    benchmarks = [b for b in benchmarks if settings.asks(b.name)]
    judged: dict[str, BenchmarkScores] = {}
    problems = {b.name: b.problem for b in benchmarks if isinstance(b, Broken)}
    with fixed(settings.threads):
        load = load_with_head if settings.mode == "own" else load_encoder
        encoder = load(source) if isinstance(source, Path) else source
        for benchmark in benchmarks:
            if isinstance(benchmark, Broken):
                continue
            try:
                judged[benchmark.name] = _judge(encoder, benchmark, settings, report, device)
            except NdogoError as error:
                problems[benchmark.name] = str(error)
    if not judged:
        listed = "; ".join(f"{name}: {problem}" for name, problem in problems.items()) or "none was given"
        raise NdogoError("No benchmark could be judged.", where=encoder.name, cure=listed)
    if settings.mode == "own":  # the others are not what the model is for
        problems = {b.name: b.problem for b in benchmarks if isinstance(b, Broken)}
    return Evaluation(
        version=RECORD_VERSION,
        model=encoder.name,
        parameters=parameters(encoder.model),
        settings=settings,
        versions=versions(),
        benchmarks=judged,
        problems=problems,
        seconds=round(time.monotonic() - started, 2),
        device=device,
    )


def versions() -> dict[str, str]:
    """The libraries that can move a score; read off the installed packages, for importing them takes seconds."""
    from importlib.metadata import version

    packages = {"torch": "torch", "transformers": "transformers", "tokenizers": "tokenizers", "sklearn": "scikit-learn"}
    return {name: version(package) for name, package in packages.items()}


@contextmanager
def fixed(threads: int) -> Iterator[None]:
    """A fixed number of threads and a generator of our own; both are given back."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(), threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def _judge(
    encoder: "Encoder", benchmark: Benchmark, settings: EvaluationSettings, report: Report, device: str
) -> BenchmarkScores:
    if settings.mode in ("finetune", "adapter"):
        from ndogo.evaluation.finetune import finetune

        return entry(benchmark, settings, finetune(encoder, benchmark, settings, report, device))
    if settings.mode == "own":
        from ndogo.evaluation.own import own

        return entry(benchmark, settings, own(encoder, benchmark, settings, report, device))
    from ndogo.evaluation.probe import probe

    return entry(benchmark, settings, probe(encoder, benchmark, settings, report, device))


def entry(benchmark: Benchmark, settings: EvaluationSettings, found: "Judged") -> BenchmarkScores:
    """The scores of one benchmark."""
    from ndogo.evaluation.scores import METRICS, counts, score

    test = benchmark.splits["test"]
    scores = [score(benchmark, test, predictions) for predictions in found.predictions]
    first, *others = METRICS[benchmark.kind]
    return BenchmarkScores(
        **dict(Spread.of([s[first] for s in scores])),
        kind=benchmark.kind,
        metric=first,
        others={name: Spread.of([s[name] for s in scores]) for name in others},
        chosen=found.chosen,
        dev=found.dev,
        seeds=list(settings.seeds)[: len(found.predictions)],
        rows={split: len(benchmark.splits[split]) for split in SPLITS},
        fingerprint=benchmark.fingerprint(),
        notes=list(benchmark.notes),
        remarks=list(found.remarks),
        items=[counts(benchmark, test, predictions) for predictions in found.predictions],
    )
