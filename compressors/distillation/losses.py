"""One batch's losses and gradients: the student, what teaches it, and the objectives."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.compressors.distillation.batches import Denominators
from ndogo.compressors.distillation.devices import ProcessGroup
from ndogo.compressors.distillation.logits import Side, logits_losses
from ndogo.compressors.distillation.maps import Measured, measured
from ndogo.compressors.distillation.objective import (
    BatchObjective,
    LogitsObjective,
    Objective,
    StateObjective,
    Wanted,
)
from ndogo.compressors.distillation.taps import Seen, look
from ndogo.compressors.distillation.teacher_cache import TeacherOutputs
from ndogo.core.architectures import architecture_of, lm_logits
from ndogo.core.batches import Batch
from ndogo.core.masking import IGNORED


@dataclass
class Whole:
    """What a part of a batch has to know of the whole, by objective: its share of the value, and the gradient of the whole
    batch's value with regard to its rows' vectors.
    """

    taught: Seen
    values: dict[str, torch.Tensor]
    gradients: dict[str, torch.Tensor]


@dataclass
class Losses:
    """Everything that turns a batch into losses and gradients."""

    student: PreTrainedModel
    teacher: PreTrainedModel | None
    objectives: Mapping[str, Objective]
    projections: Mapping[str, nn.Module]
    """What the objectives on states learn, by their names."""
    wanted: tuple[Wanted, Wanted]
    """What is read of the student and of the teacher."""
    precision: torch.dtype | None = None
    """Of the student's matrix products under autocast; None: as its weights are."""
    outputs: TeacherOutputs | None = None
    """What the teacher says, where it is kept; else the teacher is asked."""
    scale: torch.Tensor | float = 1.0
    """How much larger than they are the gradients come out: fp16 would lose the small ones."""

    @property
    def on_logits(self) -> dict[str, LogitsObjective]:
        """The objectives that are as wide as the vocabulary."""
        return {name: found for name, found in self.objectives.items() if isinstance(found, LogitsObjective)}

    @property
    def on_states(self) -> dict[str, StateObjective]:
        """The objectives on what the encoders compute on the way."""
        return {name: found for name, found in self.objectives.items() if isinstance(found, StateObjective)}

    @property
    def on_batches(self) -> dict[str, BatchObjective]:
        """The objectives that compare the rows of the whole batch with each other."""
        return {name: found for name, found in self.objectives.items() if isinstance(found, BatchObjective)}

    def parameters(self) -> dict[str, nn.Parameter]:
        """All that is trained, by name, what is shared once: the student's parameters, unless frozen, and the projections."""
        named = {f"student.{name}": p for name, p in self.student.named_parameters() if p.requires_grad}
        known: set[int] = set()
        for name, learnt in self.projections.items():
            mine = {f"{name}.{part}": p for part, p in learnt.named_parameters() if p.requires_grad}
            named |= {part: p for part, p in mine.items() if id(p) not in known}
            known |= {id(p) for p in mine.values()}
        return named

    def sizes(self) -> tuple[int, PreTrainedConfig, PreTrainedConfig | None]:
        """The student's parameters and shape, and the teacher's shape."""
        guide = self.teacher.config if self.teacher is not None else None
        return sum(p.numel() for p in self.student.parameters()), self.student.config, guide

    def measured(self) -> dict[str, Measured]:
        """Everything that looks at text before step 1, by name."""
        return dict(measured(self.projections))

    @torch.no_grad()
    def watch(self, batch: Batch) -> None:
        """Let everything that looks at text before step 1 see a batch, without dropout and in the weights' own precision."""
        self.student.eval()
        taught = self._taught(batch)
        assert taught is not None
        seen = look(self.student, self.wanted[0], batch.ids, batch.real)
        for module in self.measured().values():
            module.watch(seen, taught, batch.real)

    def dense(self) -> tuple[nn.Linear, ...] | None:
        """The dense layers that the student's vectors pass through when it is done; None: no objective says."""
        said = [objective.dense(self.projections[name]) for name, objective in self.on_states.items()]
        return next((layers for layers in said if layers is not None), None)

    def accumulate(
        self, parts: Sequence[Batch], denominators: Denominators, seeds: Sequence[int | None], group: ProcessGroup
    ) -> dict[str, torch.Tensor]:
        """As `compute` on each of this process's parts of a global batch, with `seeds` one by one; the sums of the values."""
        together = self._together(parts, denominators, seeds, group)
        values = dict.fromkeys(self.objectives, torch.zeros((), dtype=torch.float64))
        for batch, seed, whole in zip(parts, seeds, together, strict=True):
            for name, value in self.compute(batch, denominators, seed, whole).items():
                values[name] = values[name] + value
        return values

    def _together(
        self, parts: Sequence[Batch], denominators: Denominators, seeds: Sequence[int | None], group: ProcessGroup
    ) -> "list[Whole | None]":
        """What each part has to know of the whole batch: nothing where it is the whole batch, or none compares rows.

        A first pass makes the vectors of all rows; the loss's gradient with regard to them then goes back part by part.
        """
        if not self.on_batches or (group.size == 1 and len(parts) == 1):
            return [None] * len(parts)
        ours: dict[str, list[torch.Tensor]] = {name: [] for name in self.on_batches}
        theirs: dict[str, list[torch.Tensor]] = {name: [] for name in self.on_batches}
        kept: list[Seen] = []
        for batch, seed in zip(parts, seeds, strict=True):
            self._prepare(batch, seed)
            with torch.no_grad(), self._autocast(batch.ids.device):
                taught = self._taught(batch)
                assert taught is not None
                seen = look(self.student, self.wanted[0], batch.ids, batch.real)
                for name, objective in self.on_batches.items():
                    ours[name].append(objective.vectors(seen, batch.real, self.projections[name]))
                    theirs[name].append(objective.taught(taught, batch.real, self.projections[name]))
            kept.append(taught)
        found = [Whole(taught, {}, {}) for taught in kept]
        for name, objective in self.on_batches.items():
            ranks = group.gather(torch.cat(ours[name]) if parts else None)
            taught_ranks = group.gather(torch.cat(theirs[name]) if parts else None)
            at = sum(len(rows) for rows in ranks[: group.rank] if rows is not None)
            whole = torch.cat([rows for rows in ranks if rows is not None]).requires_grad_(True)
            with torch.enable_grad():
                taught_whole = torch.cat([rows for rows in taught_ranks if rows is not None])
                lost = objective.compare(whole, taught_whole, self.projections[name]) / denominators.sequences
                (gradient,) = torch.autograd.grad(lost.sum(), whole)
            for part, batch in zip(found, parts, strict=True):
                mine = slice(at, at + len(batch.ids))
                part.values[name], part.gradients[name] = lost[mine].sum().detach(), gradient[mine]
                at += len(batch.ids)
        return list(found)

    def total(self, values: Iterable[tuple[str, float]]) -> float:
        """The weighted sum of values by objective."""
        return sum(self.objectives[name].weight * value for name, value in values)

    def compute(
        self, batch: Batch, denominators: Denominators, seed: int | None, whole: "Whole | None" = None
    ) -> dict[str, torch.Tensor]:
        """Each objective's share of its value in the global batch; with a `seed`, gradients are added to `.grad`.

        `seed` fixes dropout. None: the student is judged (no dropout, no gradients). `whole`: what is known of the whole batch,
        where this is a part of it.
        """
        self._prepare(batch, seed)
        with torch.set_grad_enabled(seed is not None), self._autocast(batch.ids.device):
            taught = whole.taught if whole else self._taught(batch)
            seen = look(self.student, self.wanted[0], batch.ids, batch.real)
            values, backward_from = self._logits_values(batch, denominators, seen, taught)
            total = None
            for name, objective in self.on_states.items():
                assert taught is not None  # load_losses refuses an objective without its teacher
                if whole is not None and isinstance(objective, BatchObjective):
                    values[name] = whole.values[name]
                    vectors = objective.vectors(seen, batch.real, self.projections[name])
                    value = (vectors * whole.gradients[name]).sum()  # not the loss, but its gradient is the loss's
                else:
                    value = objective.loss(seen, taught, batch.real, self.projections[name])
                    value = value / getattr(denominators, objective.counted(seen))
                    values[name] = value.detach()
                total = objective.weight * value if total is None else total + objective.weight * value
        if seed is not None:
            if total is not None:
                backward_from.append((total, torch.ones_like(total) * self.scale))
            if backward_from:
                self._expect_sparse()
                torch.autograd.backward([at for at, _ in backward_from], [gradient for _, gradient in backward_from])
        return {name: values[name].detach().double() for name in self.objectives}

    def _prepare(self, batch: Batch, seed: int | None) -> None:
        self.student.train(seed is not None)
        if seed is not None:
            torch.manual_seed(seed)
            # On a CPU the gradient comes as the rows that were read: a fresh V x H of zeros costs more than the embedding.
            self._words().sparse = batch.ids.device.type == "cpu"

    def _words(self) -> nn.Embedding:
        words = self.student.base_model.get_submodule(architecture_of(self.student.config).words)
        assert isinstance(words, nn.Embedding)
        return words

    def _expect_sparse(self) -> None:
        """Give the word embedding's sparse gradient a dense one to be added to, unless a tied decoder left one already."""
        words = self._words()
        if words.sparse and words.weight.requires_grad and words.weight.grad is None:
            words.weight.grad = torch.zeros_like(words.weight)

    def _logits_values(
        self, batch: Batch, denominators: Denominators, seen: Seen, taught: Seen | None
    ) -> tuple[dict[str, torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]:
        """The objectives on logits: masked positions serve all of them, the other real ones those on all positions."""
        objectives = self.on_logits
        masked, others = batch.places or _places(batch)
        values: dict[str, torch.Tensor] = {}
        gradients = []
        for at, names in (
            (masked, list(objectives)),
            (others, [name for name, objective in objectives.items() if not objective.masked_only]),
        ):
            if not names:
                continue
            assert seen.last_BLH is not None
            rows = seen.last_BLH.flatten(0, 1).index_select(0, at)
            counted = max(1, denominators.masked)  # a batch of unknown words alone has nothing masked
            divisors = {n: counted if objectives[n].masked_only else denominators.tokens for n in names}
            losses = {n: (self.scale * objectives[n].weight / divisors[n], objectives[n]) for n in names}
            sums, gradient = logits_losses(
                losses, _side(self.student, rows), self._teacher_side(taught, at, names), batch.labels.flatten()[at]
            )
            for name in names:
                values[name] = values.get(name, 0) + sums[name] / divisors[name]
            if gradient is not None and rows.requires_grad:  # else the head alone learns, and has its gradient already
                gradients.append((rows, gradient))
        return values, gradients

    def _teacher_side(self, taught: Seen | None, at: torch.Tensor, names: list[str]) -> Side | None:
        if taught is None or taught.last_BLH is None or not any(self.objectives[n].needs_teacher for n in names):
            return None
        assert self.teacher is not None
        return _side(self.teacher, taught.last_BLH.flatten(0, 1).index_select(0, at))

    def _taught(self, batch: Batch) -> Seen | None:
        if self.outputs is not None:
            return self.outputs.read(batch)
        if self.teacher is None:
            return None
        with torch.no_grad(), torch.autocast(batch.ids.device.type, enabled=False):
            return look(self.teacher, self.wanted[1], batch.ids, batch.real)

    def _autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.precision)


def _places(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    masked = batch.labels != IGNORED
    chosen = [found.flatten().nonzero().squeeze(1) for found in (masked, batch.real & ~masked)]
    return chosen[0], chosen[1]


def _side(model: PreTrainedModel, rows_NH: torch.Tensor) -> Side:
    return Side(rows_NH, partial(lm_logits, model), model.config.vocab_size)
