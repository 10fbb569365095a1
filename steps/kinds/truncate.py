"""truncate: keep some of the layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ndogo.core.errors import NdogoError
from ndogo.core.size import Size, resolve_size
from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step, at_most

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ndogo.core.architectures import Shape

Rule = Literal["first", "last", "stride", "stride-last", "first-last", "importance"]
Layers = tuple[Annotated[int, Field(strict=True, ge=0)], ...]


class Truncate(Step):
    """Keep some of the layers."""

    kind: ClassVar[str] = "truncate"
    title: ClassVar[str] = "Drop layers"

    layers: Size
    """A number, or a fraction of the layers such as 6/12."""
    keep: Rule | Layers = "stride"
    """first, last, stride (the first of each block: 0, 2, 4 ...), stride-last (the last of each: 1, 3, 5 ...), first-last,
    importance; or explicit layers, counted from 0, such as [0, 2, 4]."""
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

    def calibration_passes(self, layers: int) -> int:
        """Of a thousand lines, by importance: one, or one without each layer."""
        from ndogo.compressors.depth import SENTENCES

        return 0 if self.keep != "importance" else SENTENCES * (layers if self.importance == "loss" else 1)

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """Fewer layers."""
        from ndogo.core.architectures import shape_of, with_shape

        found = shape_of(config).layers
        layers = resolve_size(self.layers, found)
        at_most(layers, found, "layers", planning.where)
        if isinstance(self.keep, tuple) and (len(self.keep) != layers or max(self.keep) >= found or min(self.keep) < 0):
            raise NdogoError(
                f"keep lists {list(self.keep)} where {layers} of the layers 0 to {found - 1} are wanted.",
                where=f"{planning.where}.keep",
            )
        return with_shape(config, layers=layers)

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Choose and cut; layers.json says which and why."""
        from ndogo.compressors.depth import Choice, truncate
        from ndogo.core.models import load_config

        config = self.plan(load_config(inputs["student"]), Planning(self.kind))
        choice = Choice(self.keep, self.importance, context.lines)
        return truncate(inputs["student"], out, config, choice, context.report)

    @classmethod
    def fitted(cls, given: dict[str, Any], whole: "Shape", wanted: "Shape", specials: int) -> dict[str, Any] | None:
        """The layers of the shape."""
        return None if wanted.layers == whole.layers else {**given, "layers": wanted.layers}
