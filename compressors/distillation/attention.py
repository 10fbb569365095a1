"""Attention from captured queries and keys, for the layers that an objective asks for; the model itself keeps fused attention.

Shapes: B rows, A heads, L positions, d head width.
"""

import math

import torch

from ndogo.compressors.distillation.taps import Rotary, Seen


def scores(seen: Seen, layer: int) -> torch.Tensor:
    """Attention before softmax, (B, A, L, L), without any mask, rotation applied where the model rotates."""
    q_BALd, k_BALd = (
        part[layer].unflatten(-1, (seen.shape.heads, -1)).transpose(1, 2) for part in (seen.queries, seen.keys)
    )
    if layer in seen.rotary:
        q_BALd, k_BALd = (_rotated(part, seen.rotary[layer]) for part in (q_BALd, k_BALd))
    found: torch.Tensor = q_BALd @ k_BALd.transpose(-1, -2) / math.sqrt(q_BALd.shape[-1])
    return found.to(torch.promote_types(found.dtype, torch.float32))


def maps(seen: Seen, layer: int, real_BL: torch.Tensor) -> torch.Tensor:
    """Attention after softmax, (B, A, L, L), padded keys and keys outside a local window at 0."""
    found = scores(seen, layer).masked_fill(~real_BL[:, None, None], -math.inf)
    window = seen.windows.get(layer)
    if window is not None:
        # A padded query may have a window without a real key; such rows are left alone, no loss counts them.
        found = found.masked_fill(~window & window.any(-1, keepdim=True), -math.inf)
    return found.softmax(-1)


def within(real_BL: torch.Tensor) -> torch.Tensor:
    """The query-key pairs of real positions, (B, L, L)."""
    return real_BL[:, :, None] & real_BL[:, None, :]


def _rotated(x_BALd: torch.Tensor, rotary: Rotary) -> torch.Tensor:
    cos, sin = (part.unsqueeze(1) for part in rotary)
    first, second = x_BALd.chunk(2, dim=-1)
    return x_BALd * cos + torch.cat([-second, first], -1) * sin
