"""Depth: keep some of the layers, chosen by a rule or by what each layer does to real text."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.compressors.calibration import final_states, masked_loss, read_batches
from ndogo.compressors.rebuild import rebuild
from ndogo.core.architectures import (
    architecture_of,
    check_listed,
    has_lm_head,
    layers_of,
    prefix_of,
    shape_of,
    with_layers,
)
from ndogo.core.batches import Batch
from ndogo.core.device import on_device
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_model, load_tokenizer, parameters, save
from ndogo.core.progress import Report
from ndogo.core.text import Lines

SENTENCES = 1000
"""Lines of calibration text on which layers are judged."""


@dataclass(frozen=True)
class Choice:
    """How layers are chosen: a rule or explicit layers; for `importance` what is measured, and on which text."""

    keep: str | tuple[int, ...]
    importance: str = "change"
    calibration: Lines | None = None


def truncate(source: Path, out: Path, config: PreTrainedConfig, choice: Choice, report: Report) -> dict[str, float]:
    """Write the model of `source` with as many of its layers as `config` has into `out`; `layers.json` says which and why.

    `source` is left untouched.

    :returns: parameters before and after, layers before and after.
    :raises NdogoError: not a model directory, an impossible choice of layers, or no text where it is needed.
    """
    report("loading", 0, None)
    model = load_model(source)
    count = shape_of(config).layers
    scores: Tensor | None = None
    if choice.keep == "importance":
        if choice.calibration is None:
            raise NdogoError("Layers are judged on text, and there is none.", where="truncate.keep: importance")
        needs_loss = choice.importance == "loss"
        masked = needs_loss and has_lm_head(model)
        batches = read_batches(choice.calibration, load_tokenizer(source), SENTENCES, masked=masked)
        with on_device(model) as device:
            batches = [batch.to(device) for batch in batches]
            scores = (losses_without if needs_loss else changes)(model, batches, report)
    kept = kept_layers(len(layers_of(model)), count, choice.keep, scores, fixed=_fixed(model))
    report("cutting layers", 0, None)
    student = keep_layers(model, kept)
    save(student, out)
    copy_tokenizer(source, out)
    note = {"kept": kept, "of": len(layers_of(model)), "scores": None if scores is None else scores.tolist()}
    (out / "layers.json").write_text(json.dumps(note, indent=1) + "\n")
    return {
        "layers_before": len(layers_of(model)),
        "layers": len(kept),
        "params_before": parameters(model),
        "params": parameters(student),
    }


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A new model with the layers `kept` (0-based, ascending) of `model`, which is left untouched.

    :raises NdogoError: layers that are not there, out of order, or without layer 0 where it must stay.
    """
    found = len(layers_of(model))
    if list(kept) != sorted(set(kept)) or not kept or kept[0] < 0 or kept[-1] >= found:
        raise NdogoError(
            f"Layers {list(kept)} cannot be kept.",
            where="truncate.keep",
            cure=f"Ascending numbers from 0 to {found - 1}.",
        )
    if _fixed(model) and kept[0] != 0:
        raise NdogoError(
            "Layer 0 of this architecture has not the parts of the others and cannot be replaced by another.",
            where=f"truncate.keep: {list(kept)}",
            cure="Keep layer 0.",
        )
    stem = f"{prefix_of(model)}{architecture_of(model.config).layers}."
    return rebuild(model, with_layers(model.config, kept), _renumbered(model.state_dict(), stem, kept))


def kept_layers(
    found: int, count: int, keep: str | Sequence[int], scores: Tensor | None = None, *, fixed: bool = False
) -> list[int]:
    """The 0-based layers that a rule keeps: `count` of `found`.

    `scores` (found,): what is lost without a layer, for `importance`. `fixed`: layer 0 takes the place of the first kept.
    `stride` is block starts, `stride-last` block ends; `first-last` gives an odd one to the first half.
    """
    if not isinstance(keep, str):
        return list(keep)
    rules = {
        "first": list(range(count)),
        "last": list(range(found - count, found)),
        "stride": [number * found // count for number in range(count)],
        "stride-last": [(number + 1) * found // count - 1 for number in range(count)],
        "first-last": [*range(count - count // 2), *range(found - count // 2, found)],
    }
    if keep != "importance":
        kept = rules[keep]
        return [0, *kept[1:]] if fixed else kept
    assert scores is not None
    order = torch.argsort(scores, descending=True, stable=True).tolist()
    if fixed:
        order = [0, *(layer for layer in order if layer != 0)]
    return sorted(order[:count])


@torch.no_grad()
def changes(model: PreTrainedModel, batches: Sequence[Batch], report: Report) -> Tensor:
    """How much each layer changes what goes through it: mean of 1 - cosine of its input and output over all tokens, (L,)."""
    total = torch.zeros(len(layers_of(model)), dtype=torch.float64)
    tokens = 0
    for number, batch in enumerate(batches):
        states: list[tuple[Tensor, Tensor]] = []
        hooks = [layer.register_forward_hook(_note_states(states)) for layer in layers_of(model)]
        try:
            model.base_model(input_ids=batch.ids, attention_mask=batch.real.long())
        finally:
            for hook in hooks:
                hook.remove()
        for layer, (before, after) in enumerate(states):
            cosine = torch.cosine_similarity(before[batch.real], after[batch.real], dim=-1)
            total[layer] += (1 - cosine).sum().double().cpu()
        tokens += int(batch.real.sum())
        report("judging layers", number + 1, len(batches))
    return (total / tokens).float()


@torch.no_grad()
def losses_without(model: PreTrainedModel, batches: Sequence[Batch], report: Report) -> Tensor:
    """The masked-LM loss (nats per masked token) when each layer alone is dropped, (L,); of a model without a masked-LM head
    the distance of its final states to the whole model's: their squared difference over the size of the whole model's.

    :raises NdogoError: a masked-LM head that the architecture table does not know.
    """
    if has_lm_head(model):
        check_listed(model.config, "compute its masked-LM loss")
        judge = partial(masked_loss, model, batches)
    else:
        judge = partial(_distance, model, batches, [final_states(model, batch) for batch in batches])
    found = len(layers_of(model))
    losses = torch.zeros(found)
    for layer in range(found):
        hook = layers_of(model)[layer].register_forward_hook(_skip)
        try:
            losses[layer] = judge()
        finally:
            hook.remove()
        report("dropping each layer", layer + 1, found)
    return losses


def _distance(model: PreTrainedModel, batches: Sequence[Batch], whole: Sequence[Tensor]) -> float:
    squares = sum(
        float((final_states(model, b) - states).square().sum()) for b, states in zip(batches, whole, strict=True)
    )
    return squares / sum(float(states.square().sum()) for states in whole)


def _note_states(states: list[tuple[Tensor, Tensor]]) -> Callable[..., None]:
    return lambda _module, inputs, output: states.append(
        (inputs[0], output[0] if isinstance(output, tuple) else output)
    )


def _skip(_module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> object:
    return (inputs[0], *output[1:]) if isinstance(output, tuple) else inputs[0]


def _fixed(model: PreTrainedModel) -> bool:
    return architecture_of(model.config).first_layer_fixed


def _renumbered(weights: Mapping[str, Tensor], stem: str, kept: Sequence[int]) -> dict[str, Tensor]:
    place = {str(layer): str(number) for number, layer in enumerate(kept)}
    found = {}
    for name, tensor in weights.items():
        if not name.startswith(stem):
            found[name] = tensor
            continue
        layer, _, rest = name.removeprefix(stem).partition(".")
        if layer in place:
            found[f"{stem}{place[layer]}.{rest}"] = tensor
    return found
