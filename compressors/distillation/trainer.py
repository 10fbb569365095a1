"""The training loop of one process: batches by step number, checkpoints by rename, the same result however often it is killed."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ndogo.compressors.distillation import ahead, checkpoints, guard
from ndogo.compressors.distillation.batches import (
    HELD_OUT_SEQUENCES,
    MASKS,
    Denominators,
    GlobalBatch,
    OneLength,
    held_out_batches,
    masking_for,
    read_batch,
    schedule_of,
)
from ndogo.compressors.distillation.checkpoints import Progress
from ndogo.compressors.distillation.corpus import open_tokenized
from ndogo.compressors.distillation.devices import ProcessGroup, memory_of
from ndogo.compressors.distillation.job import TrainingJob
from ndogo.compressors.distillation.loading import load_losses, say_how_vectors_are_made
from ndogo.compressors.distillation.objective import TaughtLogitsObjective
from ndogo.compressors.distillation.optimiser import groups, rate_at
from ndogo.compressors.distillation.teacher_cache import Asking, keep
from ndogo.compressors.memory import micro_tokens
from ndogo.core.batches import by_length
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_tokenizer, save
from ndogo.core.progress import Report
from ndogo.core.threads import Pace

MEASURED = 1024
"""Sequences on which statistics and least-squares fits are made before step 1: some 30,000 tokens for a few hundred unknowns."""
EVALUATIONS = 20
"""Held-out evaluations of a training. Without patience a short one has fewer: ten batches learnt for each one held out."""
DROPOUT = 2


class Trainer:
    """One training in one process (of `group.size`): all ranks hold the same weights after every step."""

    def __init__(self, job: TrainingJob, group: ProcessGroup, report: Report) -> None:
        self.job, self.group, self.report = job, group, report
        self.settings, self.work = job.settings, Path(job.work)
        checkpoints.take_up_threads(self.work / "checkpoint.safetensors", job.identity)
        self.tokenizer = load_tokenizer(Path(job.student))
        self.corpus = open_tokenized(Path(job.corpus))
        self.schedule = schedule_of(self.corpus.lengths, self.settings, self.seed)
        self.masking = masking_for(self.tokenizer, self.settings.mask_probability)
        self.losses = load_losses(job, group.device)
        self.micro = micro_tokens(memory_of(group.device), *self.losses.sizes())
        self._keep_teacher_outputs()
        self.every, coming = guard.EVERY[group.device.type], ahead.STEPS[group.device.type]
        self.batch_of = ahead.Ahead(self._batches(), job.steps, coming)
        self.parameters = self.losses.parameters()
        betas = (0.9, self.settings.adam_beta2)
        self.optimiser = torch.optim.AdamW(groups(self.parameters, self.settings.weight_decay), betas=betas, fused=True)
        self.guard = guard.Guard(self.optimiser, len(job.objectives) + 1, group.device, scaled=job.precision == "fp16")
        self.losses.scale = self.guard.scale
        self.looked_at, self.rate = 0, 0.0
        self.state = checkpoints.State(self.parameters, self.optimiser, self.losses.measured())
        self.progress = Progress()
        self.resumed_at = 0
        self.held_out = self._held_out_batches()

    @property
    def seed(self) -> int:
        """The run's seed and the settings' own offset."""
        return self.job.seed + self.settings.seed_offset

    def train(self) -> dict[str, float]:
        """Train from the last checkpoint, or from the start, to the end; write the student to the job's `out`."""
        if not self.resume():
            self.measure()
        pace = Pace(torch.get_num_threads(), self.progress.tokens, self.progress.seconds)
        saved = time.monotonic()
        self.looked_at = self.progress.step
        try:
            while self.progress.step < self.job.steps and not self._patience_is_out():
                started = time.monotonic()
                self.learn()
                self.progress.seconds += time.monotonic() - started
                pace.at(self.progress.tokens, self.progress.seconds)
                self._judge()
                self._tell()
                if time.monotonic() - saved > checkpoints.SECONDS_BETWEEN:
                    self.save()
                    saved = time.monotonic()
            return self._finish()
        finally:
            self.batch_of.close()

    def learn(self) -> None:
        """One optimiser step.

        :raises NdogoError: the loss or its gradient is not finite, in this step or since the last look at the device; the
            weights are as they were before that step.
        """
        step = self.progress.step
        batch = self.batch_of(step)
        values = self._gather(batch, batch.denominators, learning=True)
        self.guard.unscale(self.parameters.values())
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip or math.inf)
        self.rate = self.settings.learning_rate * rate_at(step, self.job.steps, self.settings.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        self.guard.step(torch.cat([values, norm.double().to(values.device)[None]]))
        self.optimiser.zero_grad(set_to_none=True)
        if (step + 1) % self.every == 0:
            self.look()
        self.progress.step += 1
        self.progress.tokens += batch.denominators.tokens

    def look(self) -> None:
        """Wait until the device has done its steps, and take the numbers of the last one.

        :raises NdogoError: those of a step since the last look are not finite.
        """
        (*found, norm), bad, good = self.guard.look()
        values = dict(zip(self.job.objectives, found, strict=True))
        loss = self.losses.total(values.items())
        if bad:
            step = self.looked_at + good
            raise NdogoError(
                f"The loss is {loss} and the gradient's norm {norm} at step {step + 1}.",
                where=f"the batch of corpus rows {sorted(map(int, self.schedule.rows(step)))[:8]}... "
                f"(seed {self.seed}, step {step})",
                cure="Lower learning_rate, or set clip or warmup. The last checkpoint is kept in " + str(self.work),
            )
        terms = {f"loss_{name}": value for name, value in values.items()}
        self.progress.numbers = {"loss": loss, **terms, "learning_rate": self.rate, "gradient_norm": norm}

    def _batches(self) -> Callable[[int], GlobalBatch]:
        """What makes the global batch of a step. It does not hold the trainer: a circle would keep all weights in memory."""
        corpus, schedule, masking, seed = self.corpus, self.schedule, self.masking, self.seed
        padding, exact = self.tokenizer.pad_token_id, isinstance(self.schedule, OneLength)
        return lambda step: read_batch(corpus, schedule.rows(step), masking, padding, (seed, MASKS, step), exact=exact)

    def measure(self) -> None:
        """Let what looks at text before step 1 see some sequences, drawn once whatever the seed; nothing is masked."""
        modules = self.state.measured
        if not modules:
            return
        count = max(MEASURED, *(module.rows for module in self.losses.measured().values()))
        some = np.random.Generator(np.random.PCG64(0)).permutation(len(self.corpus))[:count]
        batches = by_length(some, self.corpus.lengths, HELD_OUT_SEQUENCES // 8)
        plain = masking_for(self.tokenizer, 0.0)
        for number, rows in enumerate(batches):
            batch = read_batch(self.corpus, rows, plain, self.tokenizer.pad_token_id, (0,))
            for part in batch.share(0, 1, self.micro):
                self.losses.watch(part.to(self.group.device))
            self.report("measuring the teacher", number + 1, len(batches))
        for module in self.losses.measured().values():
            module.settle()
        self.group.share_first(
            [*self.parameters.values(), *(b for m in modules.values() for b in m.buffers(recurse=False))]
        )

    def resume(self) -> bool:
        """Go to the last checkpoint, where there is one; whether there is.

        :raises NdogoError: it belongs to another training.
        """
        path, best = self.work / "checkpoint.safetensors", self.work / "best.safetensors"
        kept = (path, best) if self.settings.patience is not None and best.exists() else (path,)
        if not path.exists() or not checkpoints.readable(*kept):
            return False
        tensors, facts = checkpoints.read(path)
        if facts.get("identity") != self.job.identity:
            raise NdogoError(
                "The checkpoint belongs to another training (other models, text, settings or seed).",
                where=str(path),
                cure=f"Delete {self.work} to start anew.",
            )
        self.state.restore(tensors)
        self.progress = Progress(**facts["progress"])
        self.guard.restore(facts.get("scale", (1.0, 0.0)))
        self.resumed_at = self.progress.step
        return True

    def save(self) -> None:
        """Write a checkpoint (the first process only: all hold the same)."""
        self.numbers()
        if self.group.rank == 0:
            known = {"progress": self.progress.__dict__, "scale": self.guard.kept(), "threads": torch.get_num_threads()}
            facts = {"identity": self.job.identity, **known}
            checkpoints.write(self.work / "checkpoint.safetensors", self.state.tensors(), facts)

    def _accumulate(self, whole: GlobalBatch, denominators: Denominators, *, learning: bool) -> dict[str, float]:
        """The global value of each objective on a batch, and with `learning` the global gradients in `.grad`."""
        values = self._gather(whole, denominators, learning=learning)
        return dict(zip(self.job.objectives, values.tolist(), strict=True))

    def _gather(self, whole: GlobalBatch, denominators: Denominators, *, learning: bool) -> torch.Tensor:
        """As `_accumulate`, the values in the objectives' order and still on the device, float64."""
        group = self.group
        parts = [batch.to(group.device) for batch in whole.share(group.rank, group.size, self.micro)]
        seeds = [
            derived(self.seed, DROPOUT, self.progress.step, part, group.rank) if learning else None
            for part in range(len(parts))
        ]
        values = self.losses.accumulate(parts, denominators, seeds, group)
        if learning:
            self.group.sum_gradients(list(self.parameters.values()))
        return group.sum_numbers(torch.stack([values[name].to(group.device) for name in self.job.objectives]))

    def _keep_teacher_outputs(self) -> None:
        """Where the settings say so: have the teacher speak once, and let go of it unless its head is needed."""
        if self.settings.teacher_outputs == "live" or self.losses.teacher is None:
            return
        texts = {Path(self.job.corpus): (self.corpus, len(self.corpus))}
        if self.job.held_out is not None:
            held_out = open_tokenized(Path(self.job.held_out))
            texts[Path(self.job.held_out)] = held_out, min(len(held_out), HELD_OUT_SEQUENCES)
        asking = Asking(self.losses.teacher, self.losses.wanted[1], self.tokenizer, self.group.device)
        self.losses.outputs = keep(asking, self.job, texts, self.report)
        if not any(isinstance(objective, TaughtLogitsObjective) for objective in self.job.objectives.values()):
            self.losses.teacher = None

    def _held_out_batches(self) -> list[GlobalBatch]:
        if self.job.held_out is None:
            return []
        text = open_tokenized(Path(self.job.held_out))
        return held_out_batches(text, self.masking, self.tokenizer.pad_token_id, self.settings.batch_size)

    def _judge(self) -> None:
        """At intervals: the held-out loss, and with patience the best weights so far."""
        progress = self.progress
        first = max(1, self.job.steps // EVALUATIONS)
        every = first if self.settings.patience is not None else max(first, 10 * len(self.held_out))
        due = progress.step in (first, self.job.steps) or progress.step % every == 0
        if not self.held_out or not due:
            return
        parts = [batch.denominators for batch in self.held_out]
        names = ("tokens", "masked", "pairs", "sequences")
        whole = Denominators(*(sum(getattr(part, name) for part in parts) for name in names))
        values = [self._accumulate(batch, whole, learning=False) for batch in self.held_out]
        loss = self.losses.total((name, value) for part in values for name, value in part.items())
        progress.held_out = loss
        progress.first_held_out = loss if progress.first_held_out is None else progress.first_held_out
        if loss < progress.best:
            progress.best, progress.best_step, progress.bad = loss, progress.step, 0
            if self.settings.patience is not None and self.group.rank == 0:
                weights = {name: tensor for name, tensor in self.state.tensors().items() if name.startswith("weight/")}
                checkpoints.write(self.work / "best.safetensors", weights, {"step": progress.step})
        else:
            progress.bad += 1

    def _patience_is_out(self) -> bool:
        return self.settings.patience is not None and self.progress.bad >= self.settings.patience

    def _tell(self) -> None:
        every = max(1, self.job.steps // 500)
        if self.progress.step % every == 0 or self.progress.step == self.job.steps:
            self.report("training", self.progress.step, self.job.steps, self.numbers())

    def numbers(self) -> dict[str, float]:
        """What a person wants to see of the training so far."""
        progress = self.progress
        if progress.step > self.looked_at and progress.step % self.every:
            self.look()
        told = progress.numbers | {"tokens_per_second": progress.tokens / max(progress.seconds, 1e-9)}
        if progress.held_out is not None:
            told["held_out_loss"] = progress.held_out
        return told

    def _finish(self) -> dict[str, float]:
        progress = self.progress
        numbers = self.numbers() | {"steps": progress.step, "tokens": progress.tokens, "seconds": progress.seconds}
        numbers["threads"] = torch.get_num_threads()
        if self.settings.patience is not None and progress.best_step:
            best, _ = checkpoints.read(self.work / "best.safetensors")
            self.state.restore(best)
            numbers |= {"held_out_loss": progress.best, "best_step": progress.best_step}
        if self.losses.outputs is not None:
            numbers |= self.losses.outputs.numbers()
        if self.resumed_at:
            numbers["resumed_at_step"] = self.resumed_at
        if progress.first_held_out is not None:
            numbers["first_held_out_loss"] = progress.first_held_out
        if self.group.rank == 0:
            out = Path(self.job.out)
            save(self.losses.student.eval().cpu(), out)
            copy_tokenizer(Path(self.job.student), out)
            say_how_vectors_are_made(self.losses, self.job, out)
        return numbers


def derived(*key: int) -> int:
    """A seed of 63 bits from whole numbers."""
    return int(np.random.SeedSequence([abs(part) for part in key]).generate_state(1, np.uint64)[0] >> 1)
