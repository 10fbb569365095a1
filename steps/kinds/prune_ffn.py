"""prune_ffn: cut the FFN to one width in all layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ndogo.core.frozen import Later
from ndogo.core.size import FFN_MULTIPLE, Size, resolve_size
from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step, at_most

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from ndogo.core.architectures import Shape

SCORES = {"scores": "An earlier result of the same model, text and importance, whose scores are taken over."}
PASSES = {"magnitude": 0, "first": 0, "svd": 0, "activation": 1, "pca": 2, "taylor": 4, "self": 4}
"""Of the model over calibration text, by what units are chosen; those with gradients count as three, and their targets as one."""


class PruneFfn(Step):
    """Cut the FFN to one width in all layers."""

    kind: ClassVar[str] = "prune_ffn"
    title: ClassVar[str] = "Prune the FFN"
    hints: ClassVar[dict[str, str]] = SCORES

    size: Size
    """Neurons of each layer: a number, or a fraction such as 1/2."""
    importance: Literal["magnitude", "taylor", "activation", "self"] = "activation"
    """By what neurons are chosen."""
    sentences: int = Field(gt=0, default=1000)
    """Lines of calibration text."""
    sort_heads: Annotated[bool, Later()] = False
    """Put the heads of each layer in the order of that importance, as the two-step paper does: what the model computes stays,
    but a later `prune_hidden` with `heads: recut` takes the best heads first."""

    @property
    def reads_text(self) -> bool:
        """Every importance but the weights' own does."""
        return self.importance != "magnitude"

    def calibration_passes(self, layers: int) -> int:
        """Of its sentences."""
        return self.sentences * PASSES[self.importance]

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """A narrower FFN."""
        from ndogo.core.architectures import check_ungrouped, shape_of, with_shape

        if self.sort_heads:
            check_ungrouped(config)
        found = shape_of(config).ffn
        size = resolve_size(self.size, found, FFN_MULTIPLE)
        at_most(size, found, "the FFN width", planning.where)
        return with_shape(config, ffn=size)

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Score the neurons and cut; importance.safetensors holds the scores."""
        from ndogo.compressors.width import Measure, prune_ffn
        from ndogo.core.models import load_config

        config = self.plan(load_config(inputs["student"]), Planning(self.kind))
        measure = Measure(self.importance, self.sentences, context.lines, inputs.get("scores"))
        return prune_ffn(inputs["student"], out, config, measure, context.report, self.sort_heads)

    @classmethod
    def fitted(cls, given: dict[str, Any], whole: "Shape", wanted: "Shape", specials: int) -> dict[str, Any] | None:
        """The FFN width of the shape."""
        return None if wanted.ffn == whole.ffn else {**given, "size": wanted.ffn}
