"""What the drills work on: a pico model, the tiny language, and a run of three steps on them, without any server."""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from tests import pico, tiny

RECIPE = """name: drilled
about: the drill
steps:
  - trim: {size: 150}
  - truncate: {layers: 1}
  - adapt: {steps: 12, max_length: 16, batch_size: 8}
"""


def build(folder: Path) -> Path:
    """The model, the text and benchmarks of the tiny language, and a store that knows it; the model's directory."""
    from ndogo.registry.languages import add_language, described

    os.environ["NDOGO_HOME"] = str(folder / "home")
    model = folder / "good"
    model.mkdir()
    pico.FAMILIES["xlmr"](model)
    text, benchmarks = tiny.write(folder / "tiny")
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


@contextlib.contextmanager
def copied(source: Path, target: Path):
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
