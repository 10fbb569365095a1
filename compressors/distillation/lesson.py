"""One batch's losses and gradients: the student, what teaches it, and the terms of the loss."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from ndogo.compressors.distillation.batches import Batch, Counts
from ndogo.compressors.distillation.taps import Seen, Wanted, look
from ndogo.compressors.distillation.vocabulary import OnLogits, Side, vocabulary_loss
from ndogo.core.architectures import architecture_of, lm_logits
from ndogo.core.masking import IGNORED


class Term(Protocol):
    """An objective on what the encoders compute; an nn.Module where it learns a projection."""

    student: Wanted
    teacher: Wanted
    per: Literal["tokens", "pairs"]
    """Its value is its sum divided by this count of the global batch."""

    def __call__(self, student: Seen, teacher: Seen, real_BL: torch.Tensor) -> torch.Tensor:
        """The sum over all real positions (or pairs of them)."""


@dataclass(frozen=True)
class VocabularyTerm:
    """An objective on the logits of some positions."""

    loss: OnLogits
    positions: Literal["masked", "all"]
    taught: bool
    """Whether it reads the teacher's logits."""


@dataclass
class Lesson:
    """Everything that turns a batch into gradients."""

    student: PreTrainedModel
    teacher: PreTrainedModel | None
    weights: dict[str, float]
    terms: dict[str, Term]
    vocabulary: dict[str, VocabularyTerm]
    precision: torch.dtype | None = None
    """Of the student's matrix products under autocast; None: as its weights are."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """All that is trained, by name, tied weights once: the student's parameters and the terms' projections."""
        named = {f"student.{name}": p for name, p in self.student.named_parameters()}
        for name, term in self.terms.items():
            if isinstance(term, nn.Module):
                named |= {f"{name}.{part}": p for part, p in term.named_parameters()}
        return named

    def run(self, batch: Batch, counts: Counts, seed: int | None) -> dict[str, float]:
        """Each objective's share of its value in the global batch; with a `seed`, gradients are added to `.grad`.

        `seed` fixes dropout. None: the student judges (no dropout, no gradients).
        """
        self.student.train(seed is not None)
        if seed is not None:
            torch.manual_seed(seed)
            # On a CPU the gradient comes as the rows that were read: a fresh V x H of zeros costs more than the embedding.
            self._words().sparse = batch.ids_BL.device.type == "cpu"
        with torch.set_grad_enabled(seed is not None), self._autocast(batch.ids_BL.device):
            taught = self._taught(batch)
            seen = look(self.student, self.wanted("student"), batch.ids_BL, batch.real_BL)
            values, backward_from = self._on_logits(batch, counts, seen, taught)
            total = None
            for name, term in self.terms.items():
                value = term(seen, taught or Seen(), batch.real_BL) / getattr(counts, term.per)
                values[name] = value.detach()
                total = self.weights[name] * value if total is None else total + self.weights[name] * value
        if seed is not None:
            if total is not None:
                backward_from.append((total, torch.ones_like(total)))
            if backward_from:
                self._expect_sparse()
                torch.autograd.backward([at for at, _ in backward_from], [gradient for _, gradient in backward_from])
        return {name: float(values[name]) for name in self.weights}

    def _words(self) -> nn.Embedding:
        words = self.student.base_model.get_submodule(architecture_of(self.student.config).words)
        assert isinstance(words, nn.Embedding)
        return words

    def _expect_sparse(self) -> None:
        """Give the word embedding's sparse gradient a dense one to be added to, unless a tied decoder left one already."""
        words = self._words()
        if words.sparse and words.weight.grad is None:
            words.weight.grad = torch.zeros_like(words.weight)

    def _on_logits(
        self, batch: Batch, counts: Counts, seen: Seen, taught: Seen | None
    ) -> tuple[dict[str, torch.Tensor], list[tuple[torch.Tensor, torch.Tensor]]]:
        """The vocabulary-wide terms: masked positions serve all of them, the other real ones those on all positions."""
        masked = batch.labels_BL != IGNORED
        values: dict[str, torch.Tensor] = {}
        gradients = []
        for chosen, names in (
            (masked, list(self.vocabulary)),
            (batch.real_BL & ~masked, [name for name, term in self.vocabulary.items() if term.positions == "all"]),
        ):
            if not names:
                continue
            assert seen.last_BLH is not None
            at = chosen.flatten().nonzero().squeeze(1)
            rows = seen.last_BLH.flatten(0, 1).index_select(0, at)
            divisors = {n: counts.masked if self.vocabulary[n].positions == "masked" else counts.tokens for n in names}
            losses = {n: (self.weights[n] / divisors[n], self.vocabulary[n].loss) for n in names}
            sums, gradient = vocabulary_loss(
                losses, _side(self.student, rows), self._teacher_side(taught, at, names), batch.labels_BL.flatten()[at]
            )
            for name in names:
                values[name] = values.get(name, 0) + sums[name] / divisors[name]
            if gradient is not None:
                gradients.append((rows, gradient))
        return values, gradients

    def _teacher_side(self, taught: Seen | None, at: torch.Tensor, names: list[str]) -> Side | None:
        if taught is None or taught.last_BLH is None or not any(self.vocabulary[name].taught for name in names):
            return None
        assert self.teacher is not None
        return _side(self.teacher, taught.last_BLH.flatten(0, 1).index_select(0, at))

    def wanted(self, side: Literal["student", "teacher"]) -> Wanted:
        """What the terms read of one side."""
        wanted = Wanted(last=side == "student" or any(term.taught for term in self.vocabulary.values()))
        for term in self.terms.values():
            wanted |= getattr(term, side)
        return wanted

    def _taught(self, batch: Batch) -> Seen | None:
        if self.teacher is None:
            return None
        with torch.no_grad(), torch.autocast(batch.ids_BL.device.type, enabled=False):
            return look(self.teacher, self.wanted("teacher"), batch.ids_BL, batch.real_BL)

    def _autocast(self, device: torch.device) -> contextlib.AbstractContextManager:
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.precision)


def _side(model: PreTrainedModel, rows_NH: torch.Tensor) -> Side:
    logits: Callable[[torch.Tensor], torch.Tensor] = lambda hidden: lm_logits(model, hidden)  # noqa: E731  one line
    return Side(rows_NH, logits, model.config.vocab_size)
