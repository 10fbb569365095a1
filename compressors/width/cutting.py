"""Cutting widths: torch-pruning traces what hangs together and cuts it, our indices say what stays, the table checks both.

What is known of torch-pruning and handled here:
- a tied output matrix is not known to be tied: it is left out of the tracing, and tied again in the fresh model;
- the masked-LM head's transform (and a pooler, and a classifier's dense) hangs on no residual path, so it makes groups of its
  own: all groups of one key get the same indices;
- it takes one index for query, key and value and cannot read the fused one: the indices of each side come from the table;
- it does not know norms that are not PyTorch's own: it is told how they are cut;
- every cut makes fresh parameters and leaves the configuration stale: the result goes into a freshly built model;
- pruners share a mutable default: none is made, only the dependency graph and its cutting functions are used.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.pruner.function import BasePruningFunc
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.compressors.rebuild import rebuild
from ndogo.core.architectures import architecture_of, find, prefix_of
from ndogo.core.axes import Axis, module_axes, stacked, widths
from ndogo.core.errors import NdogoError

Side = tuple[str, str]
"""A module's name, and `out` or `in`."""
TRACED_TOKENS = 8
"""Length of the sequence with which the graph is traced; any will do."""


def cut(model: PreTrainedModel, keep: Mapping[str, Tensor], config: PreTrainedConfig) -> PreTrainedModel:
    """A new model of `config` with only the units `keep[key]` (sorted positions) of each key; keys not named stay whole.

    :raises NdogoError: the dependencies that torch-pruning traces and the architecture table disagree.
    """
    whole = widths(model)
    keep = {key: index for key, index in keep.items() if len(index) < whole[key]}
    if not keep:
        return rebuild(model, config, model.state_dict())
    work = copy.deepcopy(model).requires_grad_(True)
    axes = module_axes(work)
    wanted = {side: axis for side, axis in _sides(axes).items() if set(axis) & set(keep)}
    graph = trace(work)
    _compare(set(wanted) - _untraced(work), _traced(graph, work, keep), work)
    for (name, side), axis in wanted.items():
        module = work.get_submodule(name)
        width = len(axis) * whole[axis[0]]
        kept = stacked(axis, keep, width)
        gone = sorted(set(range(width)) - set(kept.tolist()))
        pruner = graph.get_pruner_of_module(module)
        (pruner.prune_out_channels if side == "out" else pruner.prune_in_channels)(module, gone)
    return rebuild(work, config, _ordered(work))


def trace(model: PreTrainedModel) -> torch_pruning.DependencyGraph:
    """torch-pruning's graph of a model, by one forward pass over a few tokens; the decoder is left out."""
    decoder = find(model, architecture_of(model.config).decoder)
    tokens = torch.arange(TRACED_TOKENS)[None] % model.config.vocab_size
    graph = torch_pruning.DependencyGraph()
    graph.build_dependency(
        model,
        example_inputs={"input_ids": tokens, "attention_mask": torch.ones_like(tokens)},
        output_transform=lambda out: [value for value in out.values() if isinstance(value, Tensor)],
        customized_pruners=_foreign_norms(model),
        ignored_layers=[decoder] if isinstance(decoder, nn.Linear) else [],
        verbose=False,
    )
    return graph


class _NormPruner(BasePruningFunc):
    """How a norm of one gain, and perhaps a bias, over the last dimension is cut."""

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        """Take units out of the parameters, in place."""
        kept = sorted(set(range(self.get_out_channels(layer))) - set(idxs))
        for name, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, name, nn.Parameter(parameter.detach()[kept]))
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: nn.Module) -> int:
        """How many units the norm has."""
        return len(layer.get_parameter("weight"))

    get_in_channels = get_out_channels


def _foreign_norms(model: PreTrainedModel) -> dict[type[nn.Module], BasePruningFunc]:
    norm = architecture_of(model.config).norm
    kinds = {type(module) for module in model.modules() if norm.made(module)}
    return {kind: _NormPruner() for kind in kinds if not issubclass(kind, nn.LayerNorm)}


def _sides(axes: Mapping[str, tuple[Axis, Axis]]) -> dict[Side, Axis]:
    return {(name, side): axis for name, pair in axes.items() for side, axis in zip(("out", "in"), pair, strict=True)}


def _untraced(model: PreTrainedModel) -> set[Side]:
    """Sides that the table cuts and torch-pruning does not see: the decoder's input, which `trace` leaves out."""
    decoder = architecture_of(model.config).decoder
    return {(decoder, "in")} if isinstance(find(model, decoder), nn.Linear) else set()


def _traced(graph: torch_pruning.DependencyGraph, model: PreTrainedModel, keep: Mapping[str, Tensor]) -> set[Side]:
    """Every side that hangs on one of the keys, as torch-pruning traces it from the key's roots."""
    names = {module: name for name, module in model.named_modules()}
    found: set[Side] = set()
    for root in _roots(model, keep):
        module = model.get_submodule(root)
        pruner = graph.get_pruner_of_module(module)
        for dependency, _ in graph.get_pruning_group(module, pruner.prune_out_channels, idxs=[0]):
            if dependency.target.module in names:
                side = "out" if graph.is_out_channel_pruning_fn(dependency.handler) else "in"
                found.add((names[dependency.target.module], side))
    return found


def _roots(model: PreTrainedModel, keep: Mapping[str, Tensor]) -> list[str]:
    """The modules from whose outputs the groups of the keys are traced: for `hidden` also what hangs on no residual path."""
    entry = architecture_of(model.config)
    found = []
    prefix = prefix_of(model)
    for name, (out, into) in module_axes(model).items():
        if not set(out) & set(keep) or entry.norm.made(model.get_submodule(name)):
            continue
        apart = name in entry.head or name == f"{prefix}{entry.pooler}"
        if out != ("hidden",) or name == prefix + entry.words or (apart and into == ("hidden",)):
            found.append(name)
    return found


def _compare(table: set[Side], traced: set[Side], model: PreTrainedModel) -> None:
    if table == traced:
        return
    unseen, unknown = sorted(table - traced), sorted(traced - table)
    raise NdogoError(
        f"The table and the traced graph of {type(model).__name__} disagree: only in the table {unseen[:4]}, "
        f"only traced {unknown[:4]}.",
        where=f"core/architectures.py: {model.config.model_type}",
        cure="Correct the table's entry; nothing was cut.",
    )


def _ordered(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights of a cut model; of tied matrices, which cutting took apart, only the embedding's."""
    weights = model.state_dict()
    if getattr(model.config, "tie_word_embeddings", False):
        weights.pop(f"{architecture_of(model.config).decoder}.weight", None)
    return weights
