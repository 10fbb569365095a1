"""How models are judged: one frozen specification, the same for teacher and student."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ndogo.core.frozen import Frozen, Later
from ndogo.evaluation.rows import kind_of

Mode = Literal["probe", "finetune", "own", "adapter"]
"""probe: the encoder is frozen and a linear head is fitted on its states; finetune: all weights, with a fresh head; own: the
answers of the task head that the model has, on the benchmarks whose labels these are; adapter: as finetune, but the encoder is
frozen and narrow layers in it learn, as in the two-step paper."""
PROBED_SHARE = 0.8
"""Of the train rows: what each seed of a probe draws, without replacement."""


def _is(asked: str, benchmark: str) -> bool:
    """Whether a benchmark is the one asked for, or a member's of it."""
    return benchmark == asked or benchmark.startswith(f"{asked}_")


class EvaluationSettings(Frozen):
    """What decides a score; every field is part of an evaluation's key."""

    mode: Mode = "probe"
    seeds: tuple[int, ...] = (1, 2, 3)
    max_length: int = Field(ge=8, default=256)
    """Tokens per row; words beyond it count as wrong."""
    threads: int = Field(ge=1, default=2)
    """Equal digits need an equal number of threads."""
    learning_rates: tuple[float, ...] = (5e-5, 8e-5, 1.25e-4, 2e-4, 3.2e-4, 5e-4, 8e-4)
    """finetune: in steps of about 1.6; each is tried with the first seed, and dev chooses."""
    epochs: int = Field(ge=1, default=10)
    patience: int = Field(ge=1, default=3)
    """finetune: stop after so many epochs without a better dev score, and keep the best."""
    batch_size: int = Field(ge=1, default=16)
    precision: Literal["fp32", "bf16"] = "fp32"
    """finetune: bf16 runs the matrix products in bfloat16 (on recent CPUs about twice as fast); weights stay fp32."""
    train_units: int = Field(ge=1, default=200_000)
    """probe: at most so many train texts or words for each seed; Swahili's NER has 175,000, so that they are all read."""
    strengths: tuple[float, ...] = (0.01, 0.1, 1.0)
    """probe: inverse regularisation of the linear head; each is tried with the first seed, and dev chooses."""
    reduction: Annotated[int, Field(ge=1), Later()] = 16
    """adapter: how many times narrower than the encoder its adapters are."""
    benchmarks: Annotated[tuple[str, ...], Later()] = ()
    """Only these, of a group for each member; none: all that the language has."""

    def asks(self, benchmark: str) -> bool:
        """Whether models are judged on the benchmark of this name."""
        return not self.benchmarks or any(_is(one, benchmark) for one in self.benchmarks)

    def not_among(self, known: Iterable[str]) -> list[str]:
        """The benchmarks asked for that none of the known ones is."""
        there = list(known)
        return [one for one in self.benchmarks if not any(_is(one, benchmark) for benchmark in there)]

    @field_validator("benchmarks")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            kind_of(name)
        return names

    @field_validator("seeds", "learning_rates", "strengths")
    @classmethod
    def _some(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError(f"give at least one value, and each once; got {list(values)}")
        if min(values) < 0:
            raise ValueError(f"values are not negative; got {min(values)}")
        return values


class LanguageModelSettings(Frozen):
    """How much text is scored; the cost is about `lines` x `words` x tokens per word forward passes of one line."""

    lines: int = Field(ge=1, default=200)
    words: int = Field(ge=1, default=4)
    """Words drawn from each line."""
    max_bytes: int = Field(ge=8, default=300)
    """Longer lines are not drawn: a line must fit every model's positions, however finely it is split."""
    fitted: int = Field(ge=1, default=1000)
    """Lines of training text on which a tokenizer's numbers of tokens per word are counted."""
    seed: int = 1
    threads: int = Field(ge=1, default=2)


class CostSettings(Frozen):
    """What is timed, and for how long at most."""

    batches: tuple[int, ...] = (1, 32)
    lengths: tuple[int, ...] = (32, 128)
    repeats: int = Field(ge=1, default=30)
    """Timed runs of each model per batch and length."""
    seconds: float = Field(gt=0, default=20.0)
    """Time for a cell; then it ends early, after at least five runs of each model."""
    threads: int = Field(ge=1, default=1)
