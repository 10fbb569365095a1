"""Adapters: the encoder stays as it is, and a narrow layer behind each of its feed-forward blocks learns in its place."""

import torch
from torch import nn
from transformers import PreTrainedModel

from ndogo.core.architectures import architecture_of, layers_of, shape_of


class Adapter(nn.Module):
    """What comes in and, added to it, what a bottleneck makes of it; at first that is nothing."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The states (..., width), changed."""
        changed: torch.Tensor = states + self.up(torch.relu(self.down(states)))
        return changed


def add_adapters(model: PreTrainedModel, reduction: int) -> None:
    """Freeze the encoder of `model` in place, and put behind each feed-forward block an adapter `reduction` times narrower.

    The head learns as ever, and so does a pooler, which is drawn anew with the head. torch's generator is used.
    """
    entry, width = architecture_of(model.config), shape_of(model.config).hidden
    body = model.base_model
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(entry.pooler is not None and name.startswith(entry.pooler))
    for layer in layers_of(model):
        adapter = Adapter(width, max(1, width // reduction))
        layer.set_submodule(entry.ffn_out, nn.Sequential(layer.get_submodule(entry.ffn_out), adapter))
