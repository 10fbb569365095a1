"""Exact parameter counts and file sizes of thousands of shapes in a moment, from a few counts of the stock class.

A model's count is affine in its vocabulary, its layers and layers x FFN as long as its hidden width stays; four counts on the
meta device give the four factors of a width, so that no formula here can drift from what is saved.
"""

from dataclasses import dataclass

from transformers import PreTrainedConfig

from ndogo.core.architectures import Shape, shape_of, with_shape
from ndogo.core.models import empty_model, parameters

BYTES = 4
"""Of a weight: steps write fp32."""
ENTRY = 130
"""Bytes that a tensor takes at most in the head of a safetensors file: name, type, shape and place."""


@dataclass(frozen=True)
class Factors:
    """params = rest + row x vocabulary + layers x (layer + neuron x FFN); tensors = other + layers x each."""

    rest: int
    row: int
    layer: int
    neuron: int
    other: int
    each: int


class Counter:
    """Counts the shapes of one teacher's architecture."""

    def __init__(self, config: PreTrainedConfig) -> None:
        self.config = config
        self._known: dict[tuple[int, int], Factors] = {}

    def params(self, shape: Shape) -> int:
        """Distinct stored parameters of the teacher's class in this shape."""
        f = self._factors(shape)
        return f.rest + f.row * shape.vocab + shape.layers * (f.layer + f.neuron * shape.ffn)

    def file_bytes(self, shape: Shape) -> int:
        """Bytes of model.safetensors: the weights, and its head at its longest."""
        f = self._factors(shape)
        return BYTES * self.params(shape) + ENTRY * (f.other + shape.layers * f.each)

    def layer(self, shape: Shape) -> int:
        """Parameters of one layer: what each piece passes through."""
        f = self._factors(shape)
        return f.layer + f.neuron * shape.ffn

    def _factors(self, shape: Shape) -> Factors:
        key = (shape.hidden, shape.heads)
        if key not in self._known:
            rows, ffn = shape_of(self.config).vocab, 8
            one, tensors = self._count(shape, vocab=rows, layers=1, ffn=ffn)
            row = one - self._count(shape, vocab=rows - 1, layers=1, ffn=ffn)[0]
            two, more = self._count(shape, vocab=rows, layers=2, ffn=ffn)
            neuron = (self._count(shape, vocab=rows, layers=2, ffn=2 * ffn)[0] - two) // (2 * ffn)
            layer, each = two - one - neuron * ffn, more - tensors
            rest = one - row * rows - layer - neuron * ffn
            self._known[key] = Factors(rest, row, layer, neuron, tensors - each, each)
        return self._known[key]

    def _count(self, shape: Shape, **sizes: int) -> tuple[int, int]:
        """Parameters and tensors, tied ones once."""
        model = empty_model(with_shape(self.config, hidden=shape.hidden, heads=shape.heads, **sizes))
        return parameters(model), len({id(p) for p in model.parameters()})
