"""What each step of a recipe is asked to do: one frozen specification per kind of step, bad values refused at construction.

`version` is bumped by hand when the code of a step changes what it makes: it is part of the bundle's key.
"""

import re
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ndogo.core.objectives import Frozen, Objectives


def _read_size(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str | Fraction):
        raise ValueError(f"a size is a whole number or a fraction such as 312/768; got {value!r}")
    if isinstance(value, str):
        if not re.fullmatch(r"\s*\d+\s*(/\s*\d+\s*)?", value) or re.search(r"/\s*0+\s*$", value):
            raise ValueError(f"a size is a whole number or a fraction such as 312/768; got {value!r}")
        return Fraction(value.replace(" ", "")) if "/" in value else int(value)
    return value


def _positive(value: int | Fraction) -> int | Fraction:
    if value <= 0 or (isinstance(value, Fraction) and value > 1):
        raise ValueError(f"a size is above 0, and a fraction at most 1; got {value}")
    return value


Size = Annotated[
    Any,
    BeforeValidator(lambda value: _positive(_read_size(value))),
    PlainSerializer(lambda size: size if isinstance(size, int) else f"{size.numerator}/{size.denominator}"),
]
"""An absolute size, or a fraction of the size that the step finds."""


def resolve_size(size: int | Fraction, found: int, multiple: int = 1) -> int:
    """The size in units: a fraction of `found`, rounded to the nearest multiple (at least one); absolute sizes as they are."""
    if isinstance(size, int):
        return size
    return max(1, round(size * found / multiple)) * multiple


class Step(Frozen):
    """What all steps have: a name, and the model that goes in."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False
    id: str = Field(default="", pattern=r"^[a-z0-9_-]*$")
    student: str = ""
    """The step whose result this one changes; default: the step before it."""

    @property
    def reads_text(self) -> bool:
        """Whether the result depends on the corpus."""
        return self.trains

    @property
    def draws(self) -> bool:
        """Whether the result depends on the run's seed."""
        return self.trains

    def content(self) -> dict[str, Any]:
        """What the result depends on: the numbers, not the names within a recipe."""
        return self.model_dump(mode="json", exclude={"id", "student", "teacher"})


class Training(Step):
    """Steps that train say for how long in exactly one unit, and how."""

    trains: ClassVar[bool] = True
    epochs: float | None = Field(gt=0, default=None)
    steps: int | None = Field(gt=0, default=None)
    tokens: int | None = Field(gt=0, default=None)
    learning_rate: float = Field(gt=0, default=5e-5)
    batch_size: int = Field(gt=0, default=32)
    """Sequences per optimiser step, over all devices."""
    max_length: int = Field(ge=8, default=128)
    warmup: float = Field(ge=0, lt=1, default=0.0)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(ge=0, default=0.0)
    mask_probability: float = Field(ge=0, lt=1, default=0.15)
    clip: float | None = Field(gt=0, default=1.0)
    """Largest norm of the gradient."""
    patience: int | None = Field(gt=0, default=None)
    """Stop after so many held-out evaluations without improvement, and keep the best."""
    dropout: float | None = Field(ge=0, lt=1, default=None)
    """While training; default: as the student's configuration says. The configuration is never changed."""
    seed_offset: int = 0
    """Added to the run's seed, so that two trainings of one recipe see other masks."""

    @model_validator(mode="after")
    def _one_unit(self) -> "Training":
        given = [unit for unit in ("epochs", "steps", "tokens") if getattr(self, unit) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of epochs, steps and tokens; got {', '.join(given) or 'none'}")
        return self


class Adapt(Training):
    """Continue masked-language modelling on the language: the adapted teacher."""

    kind: ClassVar[str] = "adapt"

    @model_validator(mode="after")
    def _masks(self) -> "Adapt":
        if not self.mask_probability:
            raise ValueError("mask_probability is 0, and masked-language modelling learns at masked pieces only")
        return self


class Trim(Step):
    """Keep the pieces that the language uses."""

    kind: ClassVar[str] = "trim"
    size: Size | None = None
    """Ordinary pieces, forced ones and merge ancestors included; specials come on top."""
    coverage: float | None = Field(gt=0, le=1, default=None)
    """Instead of a size: the share of running pieces to cover."""
    multiple_of: int = Field(gt=0, default=1)
    """Round the number of rows up to a multiple."""
    keep: tuple[str, ...] = ()
    """Pieces to keep whatever the corpus says."""

    @property
    def reads_text(self) -> bool:
        """Counting does."""
        return True

    @model_validator(mode="after")
    def _one_target(self) -> "Trim":
        if (self.size is None) == (self.coverage is None):
            raise ValueError("give exactly one of size and coverage")
        return self


Keep = Literal["first", "last", "stride", "stride-last", "first-last", "importance"] | tuple[int, ...]


class Truncate(Step):
    """Keep some of the layers."""

    kind: ClassVar[str] = "truncate"
    layers: Size
    keep: Keep = "stride"
    """stride: the first of each block (0, 2, 4 ...), stride-last: the last of each (1, 3, 5 ...); or explicit 0-based layers."""
    importance: Literal["change", "loss"] = "change"
    """With keep: importance. change: 1 - cosine of a layer's input and output; loss: the loss when it is dropped."""

    @property
    def reads_text(self) -> bool:
        """Only a choice by importance does."""
        return self.keep == "importance"

    @model_validator(mode="after")
    def _as_many(self) -> "Truncate":
        if isinstance(self.keep, tuple):
            if isinstance(self.layers, int) and len(self.keep) != self.layers:
                raise ValueError(f"keep lists {len(self.keep)} layers, but layers is {self.layers}")
            if list(self.keep) != sorted(set(self.keep)):
                raise ValueError(f"keep must list each layer once, in order; got {list(self.keep)}")
        return self


Importance = Literal["magnitude", "taylor", "activation", "self"]


class PruneFfn(Step):
    """Cut the FFN to one width in all layers."""

    kind: ClassVar[str] = "prune_ffn"
    size: Size
    importance: Importance = "activation"
    sentences: int = Field(gt=0, default=1000)
    """Lines of calibration text."""

    @property
    def reads_text(self) -> bool:
        """Every importance but the weights' own does."""
        return self.importance != "magnitude"


class PruneHidden(Step):
    """Cut the hidden width."""

    kind: ClassVar[str] = "prune_hidden"
    size: Size
    select: Literal["first", "magnitude", "taylor", "activation", "pca"] = "activation"
    heads: Literal["drop", "shrink", "recut"] = "shrink"
    """drop: whole heads go, the head dimension stays; shrink: every head stays and loses dimensions; recut: the first rows
    whatever head they belong to are divided anew among all heads, as the two-step paper's code does."""
    sentences: int = Field(gt=0, default=1000)

    @property
    def reads_text(self) -> bool:
        """Every selection but the first columns and the weights' own does."""
        return self.select not in ("first", "magnitude")


class Fresh(Step):
    """A random model of a stated shape, with the input's tokenizer."""

    kind: ClassVar[str] = "fresh"
    layers: Size
    hidden: Size
    ffn: Size
    heads: Size

    @property
    def draws(self) -> bool:
        """Its weights are random."""
        return True


class Distil(Training):
    """Teach the student."""

    kind: ClassVar[str] = "distil"
    teacher: str = "original"
    objective: Objectives

    @model_validator(mode="after")
    def _masks(self) -> "Distil":
        asked = [name for name, term in self.objective.items() if getattr(term, "positions", name) in ("masked", "mlm")]
        if asked and not self.mask_probability:
            raise ValueError(f"mask_probability is 0, and {asked[0]} learns at masked pieces only")
        return self


KINDS: dict[str, type[Step]] = {s.kind: s for s in (Adapt, Trim, Truncate, PruneFfn, PruneHidden, Fresh, Distil)}
