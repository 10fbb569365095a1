"""Hidden width: the same channels of the residual stream everywhere, and what that makes of the heads."""

from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from compressors.plan import planned_config
from compressors.width import selection
from compressors.width.cutting import cut
from compressors.width.ffn import scored
from compressors.width.importance import Scores
from compressors.width.saved import save_scores
from core.architectures import architecture_of, layers_of, shape_of
from core.models import copy_tokenizer, load_model, parameters, save
from core.progress import Report
from core.specs import PruneHidden
from core.text import Lines

Heads = Literal["drop", "shrink", "recut"]


def prune_hidden(
    source: Path, out: Path, spec: PruneHidden, calibration: Lines | None, report: Report, scores: Path | None = None
) -> dict[str, float]:
    """Write the model of `source` with a narrower residual stream into `out`, with the scores of all its units.

    `scores`: the folder of an earlier result of the same source, text and selection, whose scores are taken over.
    `source` is left untouched.

    :returns: parameters, hidden width and heads before and after; for `pca` also what the rotation alone loses.
    :raises NdogoError: not a model directory, an impossible width, no text where it is needed, or foreign scores.
    """
    report("loading", 0, None)
    model = load_model(source)
    found = shape_of(model.config)
    config = planned_config(spec, model.config, 0, "prune_hidden")
    measured: Scores | None = None
    if spec.select != "first":
        measured, depends = scored(model, source, (spec.select, spec.sentences), calibration, report, scores)
        save_scores(measured, out, depends)
    report("cutting hidden channels", 0, None)
    student = narrow_hidden(model, config, spec.heads, measured)
    save(student, out)
    copy_tokenizer(source, out)
    made = shape_of(config)
    return {
        "hidden_before": found.hidden,
        "hidden": made.hidden,
        "heads_before": found.heads,
        "heads": made.heads,
        "params_before": parameters(model),
        "params": parameters(student),
    }


def narrow_hidden(
    model: PreTrainedModel, config: PreTrainedConfig, heads: Heads, scores: Scores | None
) -> PreTrainedModel:
    """A new model of `config`'s hidden width and heads with the channels that score highest; `model` is left untouched.

    Without scores the first channels stay. Norms then see fewer channels, so this is exact at full width only.
    With `shrink` the queries are scaled so that the attention logits are those of the kept dimensions: the model divides
    by the root of the head's new size, the old one divided by that of its old size.
    """
    found, made = shape_of(model.config), shape_of(config)
    layers = len(layers_of(model))
    before, after = found.hidden // found.heads, made.hidden // made.heads
    channels = torch.arange(made.hidden) if scores is None else selection.best(scores["hidden"], made.hidden)
    if heads == "drop":
        keep = selection.heads_dropped(scores, layers, made.heads, found.heads, before)
    elif heads == "shrink":
        keep = selection.heads_shrunk(scores, layers, found.heads, (before, after))
    else:
        keep = selection.heads_recut(layers, made.hidden)
    student = cut(model, {"hidden": channels, **keep}, config)
    if heads == "shrink" and after != before:
        scale_queries(student, (after / before) ** 0.5)
    return student


@torch.no_grad()
def scale_queries(model: PreTrainedModel, factor: float) -> None:
    """Multiply what every query projection of `model` gives, in place."""
    for layer in layers_of(model):
        for parameter in layer.get_submodule(architecture_of(model.config).query).parameters():
            parameter.mul_(factor)
