"""FFN width: the same number of neurons in every layer, the best of each."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.compressors.calibration import digest_of, sample_lines, to_batches
from ndogo.compressors.width import selection
from ndogo.compressors.width.cutting import cut
from ndogo.compressors.width.importance import Scores, score
from ndogo.compressors.width.saved import load_scores, save_scores, what_is_scored
from ndogo.core.architectures import has_lm_head, layers_of, shape_of, with_shape
from ndogo.core.axes import parameter_axes, stacked
from ndogo.core.device import on_device
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_model, load_tokenizer, parameters, save
from ndogo.core.progress import Report
from ndogo.core.text import Lines


@dataclass(frozen=True)
class Measure:
    """How units are scored: by what, on how many lines of which text, or from an earlier result.

    `scores`: the folder of an earlier result of the same source, text and importance, whose scores are taken over.
    """

    importance: str
    sentences: int = 1000
    calibration: Lines | None = None
    scores: Path | None = None


def prune_ffn(
    source: Path, out: Path, config: PreTrainedConfig, measure: Measure, report: Report, sorted_heads: bool = False
) -> dict[str, float]:
    """Write the model of `source` with FFNs as narrow as `config`'s into `out`, with the scores of all its units.

    `sorted_heads`: also put the heads in the order of their scores. `source` is left untouched.

    :returns: parameters and FFN width before and after.
    :raises NdogoError: not a model directory, an impossible width, no text where it is needed, or foreign scores.
    """
    report("loading", 0, None)
    model = load_model(source)
    found = shape_of(model.config)
    width = shape_of(config).ffn
    measured = scored(model, source, measure, report)
    save_scores(measured[0], out, measured[1])
    report("cutting FFN neurons", 0, None)
    student = narrow_ffn(model, width, measured[0])
    if sorted_heads:
        sort_heads(student, measured[0])
    save(student, out)
    copy_tokenizer(source, out)
    return {
        "ffn_before": found.ffn,
        "ffn": width,
        "params_before": parameters(model),
        "params": parameters(student),
    }


def narrow_ffn(model: PreTrainedModel, width: int, scores: Scores) -> PreTrainedModel:
    """A new model with the `width` neurons of each layer that score highest; `model` is left untouched.

    Equals the model with the other neurons' outputs set to 0.
    """
    keep = selection.ffn(scores, len(layers_of(model)), width)
    return cut(model, keep, with_shape(model.config, ffn=width))


@torch.no_grad()
def sort_heads(model: PreTrainedModel, scores: Scores) -> None:
    """Put the heads of every layer of `model` in place in the order of their scores, highest first; what it computes stays."""
    shape = shape_of(model.config)
    within = torch.arange(shape.hidden // shape.heads)
    order: selection.Keep = {}
    for layer in range(shape.layers):
        heads = torch.argsort(scores[f"head.{layer}"], descending=True, stable=True)
        order[f"qk.{layer}"] = order[f"v.{layer}"] = (heads[:, None] * len(within) + within).flatten()
    for name, axes in parameter_axes(model).items():
        for dimension, axis in enumerate(axes):
            if set(axis) & set(order):
                parameter = model.get_parameter(name)
                rows = stacked(axis, order, parameter.shape[dimension])
                parameter.copy_(parameter.index_select(dimension, rows))


def scored(model: PreTrainedModel, source: Path, measure: Measure, report: Report) -> tuple[Scores, dict[str, str]]:
    """The scores of a model's units, measured or taken over, and what they depend on.

    :raises NdogoError: no text where it is needed, or foreign scores.
    """
    kind = measure.importance
    lines: list[str] = []
    if kind != "magnitude":
        if measure.calibration is None:
            raise NdogoError(f"`{kind}` is measured on text, and there is none.", where=f"importance: {kind}")
        lines = sample_lines(measure.calibration, measure.sentences)
    depends = what_is_scored(source, kind, digest_of(lines) if lines else "")
    if measure.scores is not None:
        return load_scores(measure.scores, depends), depends
    masked = kind == "taylor" or (kind in ("self", "pca") and has_lm_head(model))
    batches = to_batches(lines, load_tokenizer(source), masked=masked) if lines else []
    with on_device(model) as device:
        found = score(model, kind, [batch.to(device) for batch in batches], report)
    return {key: value.cpu() for key, value in found.items()}, depends
