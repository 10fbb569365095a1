"""Distillation and language adaptation: fast, resumable to the bit, on any model directory."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ndogo.compressors.distillation.batches import Schedule
from ndogo.compressors.distillation.corpus import Tokenized, tokenize, tokenizer_digest
from ndogo.compressors.distillation.devices import World, exact, processes
from ndogo.compressors.distillation.engine import Training
from ndogo.compressors.distillation.launch import train_in_processes
from ndogo.compressors.distillation.request import Request
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_tokenizer
from ndogo.core.progress import silent
from ndogo.core.specs import Adapt, Distil

__all__ = ["TrainingRun", "distil", "planned_steps", "steps_in_minutes"]

TRIAL_STEPS, TRIAL_SECONDS = 20, 20.0


def distil(student: Path, teacher: Path | None, out: Path, spec: Distil | Adapt, run: TrainingRun) -> dict[str, float]:
    """Train the model at `student`, taught by the one at `teacher`, and write the result to `out`.

    Killed at any moment and called again with the same `run.work`, it goes on from the last checkpoint to the same weights.
    `student` and `teacher` are left untouched.

    :returns: steps, tokens, seconds, the last values of the loss and of each objective, held-out losses.
    :raises NdogoError: a model, the text or the settings do not fit; the loss is not finite; the disk is full.
    """
    request = prepare(student, teacher, out, spec, run)
    count = processes(run.devices)
    return train_here(request, run) if count == 1 else train_in_processes(request, count, run.report)


def steps_in_minutes(
    student: Path, teacher: Path | None, spec: Distil | Adapt, run: TrainingRun, minutes: float
) -> int:
    """How many steps of this training fit into so many minutes on this machine, tokenisation apart.

    Measured once, on throw-away weights, and remembered in `run.work`: a training that is started again has the same length.
    The caller puts the number into the specification, prints it, and from then on only steps count.

    :raises NdogoError: as `distil`.
    """
    remembered = run.work / f"steps-in-{minutes:g}-minutes.json"
    if remembered.is_file():
        return int(json.loads(remembered.read_text()))
    endless = spec.model_copy(update={"steps": 10**6, "epochs": None, "tokens": None})
    request = prepare(student, teacher, run.work, endless, run)
    with _own_randomness() as device:
        training = Training(request, World(0, 1, device), silent)
        training.learn()  # the first step pays for memory and kernels
        started, done = time.monotonic(), 0
        while done < TRIAL_STEPS and time.monotonic() - started < TRIAL_SECONDS:
            training.learn()
            done += 1
        each = (time.monotonic() - started) / done / processes(run.devices)
    steps = max(1, int(minutes * 60 / each))
    remembered.write_text(json.dumps(steps))
    return steps


@contextmanager
def _own_randomness() -> Iterator[torch.device]:
    """The device of a training in this process, whose caller's random state stays as it was."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with exact(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield device


def train_here(request: Request, run: TrainingRun) -> dict[str, float]:
    """Train in this process."""
    with _own_randomness() as device:
        return Training(request, World(0, 1, device), run.report).train()


def prepare(student: Path, teacher: Path | None, out: Path, spec: Distil | Adapt, run: TrainingRun) -> Request:
    """Tokenise the text and settle the number of steps."""
    if spec.patience is not None and run.held_out is None:
        raise NdogoError("patience needs held-out text, and there is none.", where=f"{spec.kind}: patience")
    run.work.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(student)
    name = f"{tokenizer_digest(tokenizer)}-{spec.max_length}.arrow"
    corpus = run.work / f"corpus-{run.fingerprint[:16]}-{name}"
    text = tokenize(run.lines, tokenizer, spec.max_length, corpus, run.report)
    held_out = run.work / f"held-out-{name}" if run.held_out else None
    if run.held_out and held_out:
        tokenize(run.held_out, tokenizer, spec.max_length, held_out, run.report)
    return Request(
        student=str(student),
        teacher=str(teacher) if teacher else None,
        out=str(out),
        work=str(run.work),
        corpus=str(corpus),
        held_out=str(held_out) if held_out else None,
        fingerprint=run.fingerprint,
        kind=spec.kind,
        spec=spec.model_dump(mode="json"),
        seed=run.seed,
        steps=planned_steps(spec, text, run.token_cap),
        precision=run.precision,
    )


def planned_steps(spec: Distil | Adapt, text: Tokenized, token_cap: int | None = None) -> int:
    """Optimiser steps of a training on `text`: epochs and tokens are turned into them by the corpus's own size."""
    schedule = Schedule(text.lengths, spec.batch_size, 0)
    if spec.steps is not None:
        steps = spec.steps
    elif spec.epochs is not None:
        steps = math.ceil(spec.epochs * schedule.steps_per_epoch)
    else:
        assert spec.tokens is not None
        steps = math.ceil(spec.tokens / schedule.tokens_per_step)
    if token_cap is not None:
        steps = min(steps, math.ceil(token_cap / schedule.tokens_per_step))
    return max(1, steps)
