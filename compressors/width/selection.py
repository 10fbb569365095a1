"""Which units stay, as sorted positions, so that keeping all is the identity."""

from collections.abc import Mapping

import torch
from torch import Tensor

Keep = dict[str, Tensor]


def best(scores: Tensor, count: int) -> Tensor:
    """Positions of the `count` highest scores, ascending; of equals the first."""
    return torch.argsort(scores, descending=True, stable=True)[:count].sort().values


def ffn(scores: Mapping[str, Tensor], layers: int, width: int) -> Keep:
    """The best `width` neurons of each layer."""
    return {f"ffn.{layer}": best(scores[f"ffn.{layer}"], width) for layer in range(layers)}


def heads_shrunk(scores: Mapping[str, Tensor] | None, layers: int, heads: int, size: tuple[int, int]) -> Keep:
    """All heads of all layers, each with its best dimensions; `size`: a head's dimensions before and after.

    Query and key keep the same dimensions; value keeps its own. Without scores the first of each head.
    """
    before, after = size
    found: Keep = {}
    for layer in range(layers):
        for side in ("qk", "v"):
            key = f"{side}.{layer}"
            given = torch.arange(before, 0, -1.0).repeat(heads) if scores is None else scores[key]
            parts = [head * before + best(part, after) for head, part in enumerate(given.split(before))]
            found[key] = torch.cat(parts)
    return found


def heads_dropped(scores: Mapping[str, Tensor] | None, layers: int, kept: int, heads: int, size: int) -> Keep:
    """The best `kept` of the heads of each layer, whole; `size`: a head's dimensions. Without scores the first."""
    found: Keep = {}
    for layer in range(layers):
        given = torch.arange(heads, 0, -1.0) if scores is None else scores[f"head.{layer}"]
        positions = (best(given, kept)[:, None] * size + torch.arange(size)).flatten()
        found |= {f"qk.{layer}": positions, f"v.{layer}": positions}
    return found


def heads_recut(layers: int, width: int) -> Keep:
    """The first rows whatever head they belong to, to be divided anew among all heads, as the two-step paper's code does."""
    first = torch.arange(width)
    return {f"{side}.{layer}": first for layer in range(layers) for side in ("qk", "v")}
