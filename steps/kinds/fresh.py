"""fresh: a random model of a stated shape, with the input's tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ndogo.core.size import FFN_MULTIPLE, Size, resolve_size
from ndogo.steps.step import Context, Inputs, Numbers, Planning, Step, divisible

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Fresh(Step):
    """Make a random model of a stated shape, with the input's tokenizer."""

    kind: ClassVar[str] = "fresh"
    title: ClassVar[str] = "Start a fresh student"
    draws: ClassVar[bool] = True

    layers: Size
    """A number, or a fraction of the input's layers; likewise below."""
    hidden: Size
    """The hidden width."""
    ffn: Size
    """The FFN width."""
    heads: Size
    """Attention heads of a layer."""

    def plan(self, config: "PreTrainedConfig", planning: Planning) -> "PreTrainedConfig":
        """The stated shape."""
        from ndogo.core.architectures import shape_of, with_shape

        found = shape_of(config)
        heads, layers = resolve_size(self.heads, found.heads), resolve_size(self.layers, found.layers)
        hidden = resolve_size(self.hidden, found.hidden, heads)
        divisible(hidden, heads, "hidden", planning.where, "heads")
        ffn = resolve_size(self.ffn, found.ffn, FFN_MULTIPLE)
        return with_shape(config, layers=layers, hidden=hidden, ffn=ffn, heads=heads)

    def make(self, inputs: Inputs, out: Path, context: Context) -> Numbers:
        """Draw the weights from the seed."""
        from ndogo.compressors.fresh import fresh
        from ndogo.core.directories import check_model_directory
        from ndogo.core.models import load_config

        check_model_directory(inputs["student"])
        config = self.plan(load_config(inputs["student"]), Planning(self.kind))
        return fresh(inputs["student"], out, config, context.seed, context.report)
