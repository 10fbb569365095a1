"""Reading what a model computes on the way: only what an objective asks for is kept.

Layers count from 1; state 0 is the output of the embeddings, state l that of layer l. Shapes: B rows, L positions, H hidden.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ndogo.compressors.distillation.objective import Wanted
from ndogo.core.architectures import Shape, architecture_of, layers_of, shape_of

Rotary = tuple[torch.Tensor, torch.Tensor]


@dataclass
class Seen:
    """What was read in one pass of a model of this shape."""

    shape: Shape
    last_BLH: torch.Tensor | None = None
    answer: torch.Tensor | None = None
    """The task head's logits of K labels, (B, K) or (B, L, K)."""
    exclusive: bool = True
    """Whether one label holds, and not any number of them."""
    states: dict[int, torch.Tensor] = field(default_factory=dict)
    queries: dict[int, torch.Tensor] = field(default_factory=dict)
    """(B, L, H) by layer, before any rotation; likewise keys and values."""
    keys: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)
    rotary: dict[int, Rotary] = field(default_factory=dict)
    windows: dict[int, torch.Tensor] = field(default_factory=dict)
    """Keys that a query may see, (B, 1, L, L), in layers of rotating models that have a local window or padding."""

    def at(self, depth: int) -> torch.Tensor:
        """The state of a depth; at the last one the encoder's final output, behind its last norm where it has one."""
        if depth < self.shape.layers:
            return self.states[depth]
        assert self.last_BLH is not None
        return self.last_BLH


def drop_unread_layers(model: PreTrainedModel, wanted: Wanted) -> None:
    """Take the layers above the highest one that is read out of `model` (changed in place; for teachers only)."""
    layers = layers_of(model)
    del layers[max(1, wanted.highest(len(layers))) :]


def look(model: PreTrainedModel, wanted: Wanted, ids_BL: torch.Tensor, real_BL: torch.Tensor) -> Seen:
    """Run the bare encoder once, and its task head where that is wanted, and keep what is wanted."""
    with _tapped(model, wanted) as seen:
        out = (model if wanted.answer else model.base_model)(input_ids=ids_BL, attention_mask=real_BL.long())
        if wanted.answer:
            seen.answer = out.logits
            seen.exclusive = model.config.problem_type != "multi_label_classification"
    return seen


@contextmanager
def _tapped(model: PreTrainedModel, wanted: Wanted) -> Iterator[Seen]:
    entry, layers, seen = architecture_of(model.config), layers_of(model), Seen(shape_of(model.config))
    with ExitStack() as hooks:
        hooks.callback(model.base_model.register_forward_hook(_keep_last(seen)).remove)
        if 0 in wanted.states:
            embeddings = model.base_model.get_submodule(entry.embeddings)
            hooks.callback(embeddings.register_forward_hook(_keep(seen.states, 0)).remove)
        for number in wanted.states - {0}:
            hooks.callback(layers[number - 1].register_forward_hook(_keep(seen.states, number)).remove)
        for number in wanted.qkv:
            layer = layers[number - 1]
            if entry.fused_qkv:
                hooks.callback(layer.get_submodule(entry.query).register_forward_hook(_split(seen, number)).remove)
            else:
                for name, store in ((entry.query, seen.queries), (entry.key, seen.keys), (entry.value, seen.values)):
                    hooks.callback(layer.get_submodule(name).register_forward_hook(_keep(store, number)).remove)
            if entry.rotary:
                attention = layer.get_submodule(entry.attention)
                hook = attention.register_forward_pre_hook(_positions(seen, number), with_kwargs=True)
                hooks.callback(hook.remove)
        yield seen


def _keep(store: dict[int, torch.Tensor], number: int) -> Any:
    def hook(_module: nn.Module, _given: Any, out: Any) -> None:
        store[number] = out[0] if isinstance(out, tuple) else out

    return hook


def _keep_last(seen: Seen) -> Any:
    def hook(_module: nn.Module, _given: Any, out: Any) -> None:
        seen.last_BLH = out.last_hidden_state

    return hook


def _split(seen: Seen, number: int) -> Any:
    def hook(_module: nn.Module, _given: Any, out: torch.Tensor) -> None:
        seen.queries[number], seen.keys[number], seen.values[number] = out.chunk(3, dim=-1)

    return hook


def _positions(seen: Seen, number: int) -> Any:
    def hook(_module: nn.Module, _given: object, named: dict[str, Any]) -> None:
        seen.rotary[number] = named["position_embeddings"]
        mask = named.get("attention_mask")
        if mask is not None:
            seen.windows[number] = mask if mask.dtype == torch.bool else mask == 0

    return hook
