"""What the drills work on: a pico model, the tiny language, and a run of three steps on them, without any server."""

import contextlib
import hashlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ndogo.core import directories
from tests import pico, tiny
from tests.drill.forks import in_fork

RECIPE = """name: drilled
about: the drill
steps:
  - trim: {size: 150}
  - truncate: {layers: 1}
  - adapt: {steps: 12, max_length: 16, batch_size: 8}
"""
MADE = ("bundles", "evaluations", "trimmed-teachers", "runs", "dropped-columns", "work")
"""What a run leaves in its store, beside MLflow's files."""


def warm() -> None:
    """Import what commands and runs need, so that forks start with it."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["NDOGO_CHECKPOINT_SECONDS"] = "0"  # so that what was killed goes on from its last step
    from ndogo.registry.model_registry import QUIET

    os.environ.update(QUIET)
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # only to be loaded
    import pyarrow.parquet  # noqa: F401  # only to be loaded
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer  # noqa: F401  # only to be loaded

    from ndogo import api, cli, show  # noqa: F401  # only to be loaded
    from ndogo.steps.step import kinds
    from ndogo.tasks import notes, steps  # noqa: F401  # only to be loaded

    torch.set_num_threads(1)
    kinds()
    with tempfile.TemporaryDirectory() as temporary:
        model, text = Path(temporary) / "model", Path(temporary) / "text.txt"
        model.mkdir()
        pico.FAMILIES["xlmr"](model)
        text.write_text("\n".join(tiny.lines()))
        api.trim(model, Path(temporary) / "trimmed", text, size=150)
        api.cut(model, Path(temporary) / "cut", layers=1, corpus=text)


def build(folder: Path) -> Path:
    """The model, the text and benchmarks of the tiny language, and a store that knows it; the model's directory."""
    from ndogo.registry.languages import add_language, described

    os.environ["NDOGO_HOME"] = str(folder / "home")
    model = folder / "good"
    model.mkdir()
    pico.FAMILIES["xlmr"](model)
    text, benchmarks = tiny.write(folder / "tiny")
    for kind in ("topic", "pos"):  # two of four are enough, and half the work
        shutil.rmtree(benchmarks / kind)
    add_language(described(tiny.NAME, str(text), str(model), [str(benchmarks)], "UTC"))
    return model


def run_through(model: Path, run_id: str = "drilled") -> str:
    """Find or make every step of the run and its evaluation, note them; one digest of all weights and scores."""
    from ndogo.core.progress import silent
    from ndogo.steps.recipe import ORIGINAL, parse_recipe
    from ndogo.tasks import notes
    from ndogo.tasks.evaluation import EvaluationNote, evaluated, metrics_of
    from ndogo.tasks.steps import find_or_make

    run = tiny.run_of(parse_recipe(RECIPE), model).model_copy(update={"id": run_id})
    digest = hashlib.sha256()
    with notes.opened(run):
        bundle = None
        for step in run.recipe.order():
            bundle, found = find_or_make(run, step.id, silent)
            notes.note_step(run, step, bundle, {}, found=found, seconds=0.1)
            digest.update(hashlib.sha256((run.store.path(bundle) / "model.safetensors").read_bytes()).digest())
        assert bundle is not None
        key, judged, _ = evaluated(run, bundle, silent)
        digest.update(repr(sorted(metrics_of(judged).items())).encode())
        note = EvaluationNote(
            key=key, metrics=metrics_of(judged), benchmarks=list(judged.benchmarks), problems=judged.problems
        )
        notes.note_evaluation(run, "adapt", note)
        record = notes.finish(run, "COMPLETED", {"params": 1.0})
    assert ORIGINAL in record.steps and set(record.evaluations) == {"adapt"}
    return digest.hexdigest()


def digest_into(model: Path, file: Path, run_id: str = "drilled") -> None:
    """The digest of the run, into a file that appears whole."""
    part = file.with_suffix(".part")
    part.write_text(run_through(model, run_id))
    part.rename(file)


@dataclass(frozen=True)
class Whole:
    """What a run gives to which nothing happens, and the seconds that it works."""

    digest: str
    cpu: float


@cache
def unhurt(model: Path) -> Whole:
    """The run in the store `home`, where it makes MLflow's database, and once more in a copy, where it is timed."""
    root = Path(os.environ["NDOGO_HOME"]).parent
    file, modules = root / "whole.txt", root / "modules.txt"

    def call() -> None:
        before = set(sys.modules)
        digest_into(model, file)
        modules.write_text("\n".join(sorted(sys.modules.keys() - before)))

    ended = in_fork(call, root, 600)
    assert file.exists(), ended.said
    digest = file.read_text()
    for name in modules.read_text().split():  # so that later forks start with what a run imports
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with copied(root / "home", root / "timed") as store:
        remove(store, *MADE)
        cpu = in_fork(lambda: digest_into(model, file, "timed"), root, 600).cpu
    assert file.read_text() == digest
    return Whole(digest, cpu)


@contextlib.contextmanager
def copied(source: Path, target: Path) -> Iterator[Path]:
    """A copy of a store, and the environment that names it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    before = os.environ["NDOGO_HOME"]
    os.environ["NDOGO_HOME"] = str(target)
    try:
        yield target
    finally:
        os.environ["NDOGO_HOME"] = before
        shutil.rmtree(target, ignore_errors=True)


def remove(store: Path, *parts: str) -> None:
    """Take parts of a store away."""
    for part in parts:
        directories.remove(store / part)


def synced() -> None:
    """Assert that MLflow has, or now gets, all of every run."""
    from ndogo.registry.bundles import open_store
    from ndogo.tasks import notes

    assert notes.sync(open_store())[1] == 0
    assert notes.sync(open_store()) == (0, 0)
