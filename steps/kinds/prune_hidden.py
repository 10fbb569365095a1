"""prune_hidden: cut the hidden width."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ndogo.core.errors import NdogoError
from ndogo.core.size import Size, resolve_size
from ndogo.steps.kinds.prune_ffn import PASSES, SCORES
from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step, at_most, divisible

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ndogo.core.architectures import Shape


class PruneHidden(Step):
    """Cut the hidden width."""

    kind: ClassVar[str] = "prune_hidden"
    version: ClassVar[int] = 3
    title: ClassVar[str] = "Prune the hidden width"
    hints: ClassVar[dict[str, str]] = SCORES

    size: Size
    """Channels: a number, or a fraction such as 1/2."""
    select: Literal["first", "magnitude", "taylor", "activation", "pca", "svd"] = "activation"
    """By what channels are chosen; pca: the main directions of the hidden states in place of channels; svd: the first ones, when
    every matrix has become the nearest one of that rank, as in the two-step paper's code."""
    heads: Literal["drop", "shrink", "recut"] = "shrink"
    """drop: whole heads go, the head dimension stays; shrink: every head stays and loses dimensions; recut: the first rows
    whatever head they belong to are divided anew among all heads, as the two-step paper's code does."""
    sentences: int = Field(gt=0, default=1000)
    """Lines of calibration text."""

    @property
    def reads_text(self) -> bool:
        """Every selection but the first columns and the weights' own does."""
        return PASSES[self.select] > 0

    def calibration_passes(self, layers: int) -> int:
        """Of its sentences."""
        return self.sentences * PASSES[self.select]

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """A narrower model, with fewer heads where whole heads go."""
        from ndogo.core.architectures import architecture_of, shape_of, with_shape

        found, where = shape_of(config), planning.where
        head_size, heads = found.hidden // found.heads, found.heads
        if self.heads != "drop":
            if architecture_of(config).rotary:
                raise NdogoError(
                    f"heads: {self.heads} would change the rotary frequencies of this architecture.",
                    where=f"{where}.heads",
                    cure="Use `heads: drop`.",
                )
            size = resolve_size(self.size, found.hidden, found.heads)
            divisible(size, found.heads, "size", where, "heads")
        else:
            size = resolve_size(self.size, found.hidden, head_size)
            divisible(size, head_size, "size", where, "head dimension (heads: drop)")
            heads = size // head_size
        at_most(size, found.hidden, "the hidden width", where)
        return with_shape(config, hidden=size, heads=heads)

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Score or rotate the channels and cut; importance.safetensors holds the scores."""
        from ndogo.compressors.width import Measure, prune_hidden
        from ndogo.core.models import load_config

        config = self.plan(load_config(inputs["student"]), Planning(self.kind))
        measure = Measure(self.select, self.sentences, context.lines, inputs.get("scores"))
        return prune_hidden(inputs["student"], out, config, (self.heads, measure), context.report)

    @classmethod
    def fitted(cls, given: dict[str, Any], whole: "Shape", wanted: "Shape", specials: int) -> dict[str, Any] | None:
        """The hidden width of the shape; whole heads go where their dimension may not change."""
        if wanted.hidden == whole.hidden:
            return None
        drop = {"heads": "drop"} if wanted.heads != whole.heads else {}
        return {**given, **drop, "size": wanted.hidden}
