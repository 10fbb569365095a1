"""Cutting the FFN and the hidden width: importance, selection, cutting."""

from ndogo.compressors.width.ffn import Measure, prune_ffn
from ndogo.compressors.width.hidden import prune_hidden

__all__ = ["Measure", "prune_ffn", "prune_hidden"]
