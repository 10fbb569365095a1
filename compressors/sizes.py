"""Exact parameter counts and file sizes of thousands of shapes in a moment, from a few counts of the stock class.

A model's counts are affine in its vocabulary, its layers and layers x FFN as long as its hidden width stays; four models on the
meta device give the four factors of a width, so that no formula here can drift from what is saved.
"""

from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.core.architectures import Shape, shape_of, with_shape
from ndogo.core.download import WEIGHT_BYTES
from ndogo.core.models import empty_model

ENTRY = 130
"""Bytes that a tensor takes at most in the head of a safetensors file: name, type, shape and place."""
SCALE = 4
"""Bytes of a number that stays fp32 in an int8 file: the scale of a matrix's row, and every vector (norms, biases)."""


@dataclass(frozen=True)
class Factors:
    """A count = rest + row x vocabulary + layers x (layer + neuron x FFN)."""

    rest: int
    row: int
    layer: int
    neuron: int

    def __call__(self, shape: Shape) -> int:
        """The count of a shape of the same hidden width."""
        return self.rest + self.row * shape.vocab + shape.layers * (self.layer + self.neuron * shape.ffn)


class Counter:
    """Counts the shapes of one teacher's architecture."""

    def __init__(self, config: PreTrainedConfig) -> None:
        self.config = config
        self._known: dict[tuple[int, int], dict[str, Factors]] = {}

    def params(self, shape: Shape) -> int:
        """Distinct stored parameters of the teacher's class in this shape."""
        return self._factors(shape)["params"](shape)

    def file_bytes(self, shape: Shape, dtype: str = "fp32") -> int:
        """Bytes of the weights in a file of a type, with its head at its longest. In int8 a matrix has a byte for each weight
        and a scale for each row; vectors stay fp32.
        """
        factors = self._factors(shape)
        body = factors["int8"](shape) if dtype == "int8" else WEIGHT_BYTES[dtype] * factors["params"](shape)
        return body + ENTRY * factors["tensors"](shape)

    def layer(self, shape: Shape) -> int:
        """Parameters of one layer: what each piece passes through."""
        found = self._factors(shape)["params"]
        return found.layer + found.neuron * shape.ffn

    def _factors(self, shape: Shape) -> dict[str, Factors]:
        key = (shape.hidden, shape.heads)
        if key not in self._known:
            rows, ffn = shape_of(self.config).vocab, 8
            one = self._counts(shape, vocab=rows, layers=1, ffn=ffn)
            fewer = self._counts(shape, vocab=rows - 1, layers=1, ffn=ffn)
            two = self._counts(shape, vocab=rows, layers=2, ffn=ffn)
            wide = self._counts(shape, vocab=rows, layers=2, ffn=2 * ffn)
            self._known[key] = {}
            for name, found in one.items():
                row, neuron = found - fewer[name], (wide[name] - two[name]) // (2 * ffn)
                layer = two[name] - found - neuron * ffn
                self._known[key][name] = Factors(found - row * rows - layer - neuron * ffn, row, layer, neuron)
        return self._known[key]

    def _counts(self, shape: Shape, **sizes: int) -> dict[str, int]:
        return _counts(empty_model(with_shape(self.config, hidden=shape.hidden, heads=shape.heads, **sizes)))


def _counts(model: PreTrainedModel) -> dict[str, int]:
    """Parameters, tensors and bytes as int8; tied ones once."""
    stored = {id(parameter): parameter for parameter in model.parameters()}.values()
    matrices = [parameter for parameter in stored if parameter.dim() > 1]
    params, weights = sum(p.numel() for p in stored), sum(p.numel() for p in matrices)
    int8 = weights + SCALE * (sum(len(p) for p in matrices) + params - weights)
    return {"params": params, "tensors": len(stored), "int8": int8}
