"""The way in: a student, perhaps a teacher, settings and objectives become a trained model."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from ndogo.compressors.distillation.batches import schedule_of
from ndogo.compressors.distillation.corpus import Tokenized, tokenize, tokenizer_digest
from ndogo.compressors.distillation.devices import NAMES, ProcessGroup, autocast_type, exact, processes
from ndogo.compressors.distillation.drawn import draw, drawn_name
from ndogo.compressors.distillation.job import TrainingJob
from ndogo.compressors.distillation.launch import train_in_processes
from ndogo.compressors.distillation.objective import Objective
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.core.device import chosen
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_tokenizer, weights_digest
from ndogo.core.progress import silent
from ndogo.core.sentences import read_vectors

TRIAL_STEPS, TRIAL_SECONDS = 20, 20.0


def train(
    student: Path,
    teacher: Path | None,
    out: Path,
    settings: TrainingSettings,
    objectives: Mapping[str, Objective],
    run: TrainingRun,
) -> dict[str, float]:
    """Train the model at `student`, taught by the one at `teacher`, and write the result to `out`.

    Adapting to a language is the objective `mlm` without a teacher. Killed at any moment and called again with the same
    `run.work`, it goes on from the last checkpoint to the same weights. `student` and `teacher` are left untouched.

    :returns: steps, tokens, seconds, the last values of the loss and of each objective, held-out losses.
    :raises NdogoError: a model, the text or the settings do not fit; the loss is not finite; the disk is full.
    """
    job = prepare(student, teacher, out, settings, objectives, run)
    count = processes(run.devices)
    if count > 1:
        return train_in_processes(job, count, run.report)
    with _own_randomness(settings) as device:
        return Trainer(job, ProcessGroup(0, 1, device), run.report).train()


def steps_in_minutes(
    student: Path,
    teacher: Path | None,
    settings: TrainingSettings,
    objectives: Mapping[str, Objective],
    run: TrainingRun,
    minutes: float,
) -> int:
    """How many steps of this training fit into so many minutes on this machine, tokenisation apart.

    Measured once, on throw-away weights, and remembered in `run.work` for this training alone: when it is started again it has
    the same length. The caller puts the number into the settings, prints it, and from then on only steps count.

    :raises NdogoError: as `train`.
    """
    endless = settings.model_copy(update={"steps": 10**6, "epochs": None, "tokens": None})
    job = prepare(student, teacher, run.work, endless, objectives, run)
    file = run.work / f"steps-in-{minutes:g}-minutes.json"
    remembered = _remembered(file)
    if job.identity in remembered:
        return remembered[job.identity]
    with _own_randomness(settings) as device:
        trainer = Trainer(job, ProcessGroup(0, 1, device), silent)
        trainer.learn()  # the first step pays for memory and kernels
        started, done = time.monotonic(), 0
        while done < TRIAL_STEPS and time.monotonic() - started < TRIAL_SECONDS:
            trainer.learn()
            done += 1
        trainer.numbers()  # waits for the device
        each = (time.monotonic() - started) / done / processes(run.devices)
        trainer.batch_of.close()
    steps = max(1, int(minutes * 60 / each))
    file.write_text(json.dumps(remembered | {job.identity: steps}))
    return steps


def _remembered(file: Path) -> dict[str, int]:
    """What a file says of trainings' lengths; a damaged one says nothing."""
    try:
        return {str(identity): int(steps) for identity, steps in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@contextmanager
def _own_randomness(settings: TrainingSettings) -> Iterator[torch.device]:
    """The device of a training in this process, whose caller's random state stays as it was."""
    device = _device()
    with (
        exact(device, settings.deterministic),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        yield device


def _device() -> torch.device:
    return torch.device(chosen())


def prepare(
    student: Path,
    teacher: Path | None,
    out: Path,
    settings: TrainingSettings,
    objectives: Mapping[str, Objective],
    run: TrainingRun,
) -> TrainingJob:
    """Tokenise the text, name the models and settle precision and number of steps."""
    if settings.patience is not None and run.held_out is None:
        raise NdogoError("patience needs held-out text, and there is none.", where="patience")
    run.work.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(student)
    name = f"{run.fingerprint[:16]}-{tokenizer_digest(tokenizer)}-{settings.max_length}.arrow"
    corpus = run.work / f"corpus-{name}"
    text = tokenize(run.lines, tokenizer, settings.max_length, corpus, run.report)
    if settings.windows is not None:
        prompts = read_vectors(student).prompts
        asked = settings.windows, settings.max_length, prompts
        corpus = run.work / f"drawn-{drawn_name(settings.windows, prompts)}-{name}"
        text = draw(text, run.lines, tokenizer, asked, corpus, run.report)
    held_out = run.work / f"held-out-{name}" if run.held_out else None
    if run.held_out and held_out:
        tokenize(run.held_out, tokenizer, settings.max_length, held_out, run.report)
    return TrainingJob(
        student=str(student),
        teacher=str(teacher) if teacher else None,
        out=str(out),
        work=str(run.work),
        corpus=str(corpus),
        held_out=str(held_out) if held_out else None,
        teacher_cache=str(run.teacher_cache) if run.teacher_cache else None,
        student_digest=model_digest(student),
        teacher_digest=model_digest(teacher) if teacher else None,
        fingerprint=run.fingerprint,
        settings=settings,
        objectives=dict(objectives),
        seed=run.seed,
        steps=planned_steps(settings, text, run.token_cap),
        precision=NAMES[autocast_type(run.precision, _device())],
    )


def model_digest(folder: Path) -> str:
    """Names a model by all that decides what it computes: weights, configuration, tokenizer."""
    config = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    facts = f"{weights_digest(folder)} {config} {tokenizer_digest(load_tokenizer(folder))}"
    return hashlib.sha256(facts.encode()).hexdigest()


def planned_steps(settings: TrainingSettings, text: Tokenized, token_cap: int | None = None) -> int:
    """Optimiser steps of a training on `text`: epochs and tokens are turned into them by the corpus's own size."""
    schedule = schedule_of(text.lengths, settings, 0)
    if settings.steps is not None:
        steps = settings.steps
    elif settings.epochs is not None:
        steps = math.ceil(settings.epochs * schedule.steps_per_epoch)
    else:
        assert settings.tokens is not None
        steps = math.ceil(settings.tokens / schedule.tokens_per_step)
    if token_cap is not None:
        steps = min(steps, math.ceil(token_cap / schedule.tokens_per_step))
    return max(1, steps)
