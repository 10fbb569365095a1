"""What each dimension of each parameter is: read off the architecture table, so that cutting needs no `if` per family.

A parameter's dimension is a run of blocks, each named by a key: `hidden`, or `qk.3`, `v.3`, `ffn.3` in layer 3.
ModernBERT's fused `Wqkv` is (qk, qk, v) down its rows and its `Wi`, gate included, (ffn, ffn). A dimension without a block keeps
its size (vocabulary, positions, labels).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ndogo.core.architectures import architecture_of, check_listed, key_heads, layers_of, prefix_of, shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.parts import Architecture

Axis = tuple[str, ...]
HIDDEN: Axis = ("hidden",)
FIXED: Axis = ()


def module_axes(model: PreTrainedModel) -> dict[str, tuple[Axis, Axis]]:
    """What comes out of and what goes into each module with parameters: (out, in) by module name.

    :raises NdogoError: an architecture, or a module with parameters, that the table does not know; cutting it would be a guess.
    """
    check_listed(model.config, "cut its widths")
    entry, prefix = architecture_of(model.config), prefix_of(model)
    shared = key_heads(model.config) != shape_of(model.config).heads
    found: dict[str, tuple[Axis, Axis]] = {prefix + entry.words: (HIDDEN, FIXED)}
    for name in (*entry.embedding_parts, *entry.final_parts, entry.pooler or ""):
        found[prefix + name] = (HIDDEN, HIDDEN)
    for layer in range(len(layers_of(model))):
        root = f"{prefix}{entry.layers}.{layer}."
        found |= {root + name: axes for name, axes in _layer_axes(entry, layer, shared).items()}
    found |= {name: (HIDDEN, HIDDEN) for name in entry.head}
    found |= {name: (FIXED, HIDDEN) for name in (*entry.readouts, entry.decoder)}
    leaves = {name: module for name, module in model.named_modules() if _has_axes(module, f"{name}.", entry)}
    unknown = sorted(set(leaves) - set(found))
    if unknown:
        raise NdogoError(
            f"{type(model).__name__} has parts that the architecture table does not know: {', '.join(unknown[:5])}.",
            where=f"model_type: {model.config.model_type}",
            cure="Cut the bare encoder or a masked-LM, sequence- or token-classification model.",
        )
    return {name: _without_inputs(found[name], module) for name, module in leaves.items()}


def parameter_axes(model: PreTrainedModel) -> dict[str, tuple[Axis, ...]]:
    """The axis of each dimension of each parameter, by name; tied parameters under every name that they have."""
    found: dict[str, tuple[Axis, ...]] = {}
    for name, (out, into) in module_axes(model).items():
        module = model.get_submodule(name)
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 1:
                found[f"{name}.{key}"] = (out,)
            else:  # an embedding is (rows, width), a matrix (out, in)
                found[f"{name}.{key}"] = (FIXED, out) if isinstance(module, nn.Embedding) else (out, into)
    for name, _ in model.named_parameters(remove_duplicate=False):
        found.setdefault(name, (FIXED,))  # only the vocabulary's bias: module_axes refuses every other
    return found


def widths(model: PreTrainedModel) -> dict[str, int]:
    """How many units each key has now.

    :raises NdogoError: the parts of one key differ in width.
    """
    found: dict[str, int] = {}
    for name, axes in parameter_axes(model).items():
        for size, axis in zip(model.get_parameter(name).shape, axes, strict=True):
            for key in axis:
                if found.setdefault(key, size // len(axis)) * len(axis) != size:
                    raise NdogoError(f"{name} is {size} wide where {key} is {found[key]}.", where=name)
    return found


def stacked(axis: Axis, keep: Mapping[str, Tensor], width: int) -> Tensor:
    """The positions to keep along a dimension of `width`: those of each block, moved to where the block lies."""
    block = width // len(axis)
    every = torch.arange(block)
    return torch.cat([number * block + keep.get(key, every) for number, key in enumerate(axis)])


def _layer_axes(entry: Architecture, layer: int, shared: bool) -> dict[str, tuple[Axis, Axis]]:
    """The axes of a layer's modules; keys and values that heads share are not cut."""
    qk, v, ffn = f"qk.{layer}", f"v.{layer}", f"ffn.{layer}"
    found: dict[str, tuple[Axis, Axis]] = {
        entry.value: (FIXED if shared else (v,), HIDDEN),
        entry.query: ((qk,), HIDDEN),
        entry.key: (FIXED if shared else (qk,), HIDDEN),
        entry.attention_output: (HIDDEN, (v,)),
        entry.ffn_out: (HIDDEN, (ffn,)),
    }
    found |= {name: ((ffn, ffn) if entry.fused_gate else (ffn,), HIDDEN) for name in entry.ffn_in}
    if entry.fused_qkv:
        found[entry.query] = ((qk, qk, v), HIDDEN)
    return found | {norm: (HIDDEN, HIDDEN) for norm in entry.norms}


def _has_axes(module: nn.Module, path: str, entry: Architecture) -> bool:
    names = [path + name for name, _ in module.named_parameters(recurse=False)]
    return bool(names) and names != [entry.decoder_bias]


def _without_inputs(axes: tuple[Axis, Axis], module: nn.Module) -> tuple[Axis, Axis]:
    return axes if isinstance(module, nn.Linear) else (axes[0], FIXED)
