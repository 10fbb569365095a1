"""Hidden width: the same channels of the residual stream everywhere, and what that makes of the heads."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.compressors.calibration import sample_lines, to_batches
from ndogo.compressors.width import selection
from ndogo.compressors.width.cutting import cut
from ndogo.compressors.width.ffn import Measure, scored
from ndogo.compressors.width.importance import Scores
from ndogo.compressors.width.refit import refit_norms
from ndogo.compressors.width.rotation import basis, rotate_heads, rotate_stream
from ndogo.compressors.width.saved import save_scores
from ndogo.core.architectures import Shape, architecture_of, has_lm_head, layers_of, shape_of
from ndogo.core.axes import parameter_axes
from ndogo.core.batches import Batch
from ndogo.core.models import copy_tokenizer, load_model, load_tokenizer, parameters, save
from ndogo.core.progress import Report
from ndogo.core.sentences import copy_sentence_files

Heads = Literal["drop", "shrink", "recut"]


def prune_hidden(
    source: Path, out: Path, config: PreTrainedConfig, choice: tuple[Heads, Measure], report: Report
) -> dict[str, float]:
    """Write the model of `source` with a residual stream as narrow as `config`'s into `out`, with the scores of all its units.

    `choice`: what becomes of the heads, and by what channels are chosen; importance `first` takes the first ones, and `svd`
    takes them when every matrix has become one of the new width's rank.
    `source` is left untouched.

    :returns: parameters, hidden width and heads before and after; for `pca` also its loss, as `narrow_rotated` gives it.
    :raises NdogoError: not a model directory, an impossible width, no text where it is needed, or foreign scores.
    """
    report("loading", 0, None)
    model = load_model(source)
    found, (heads, measure) = shape_of(model.config), choice
    measured: Scores | None = None
    if measure.importance not in ("first", "svd"):
        measured, depends = scored(model, source, measure, report)
        save_scores(measured, out, depends)
    report("cutting hidden channels", 0, None)
    lost: dict[str, float] = {}
    if measure.importance == "pca" and measured is not None and measure.calibration is not None:
        lines = sample_lines(measure.calibration, measure.sentences)
        text = to_batches(lines, load_tokenizer(source), masked=has_lm_head(model))
        student, lost["pca_error"] = narrow_rotated(model, config, heads, measured, text)
        kept_HK = basis(model, measured["moment"], shape_of(config).hidden)
    else:
        if measure.importance == "svd":
            lower_rank(model, shape_of(config).hidden)
        student = narrow_hidden(model, config, heads, measured)
        kept_HK = torch.eye(found.hidden)[:, _channels(config, measured)]
    save(student, out)
    copy_tokenizer(source, out)
    copy_sentence_files(source, out, kept_HK)
    made = shape_of(config)
    return lost | {
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
    student = cut(model, {"hidden": _channels(config, scores), **_head_positions(found, made, heads, scores)}, config)
    if heads == "shrink":
        scale_queries(student, (made.hidden / found.hidden) ** 0.5)
    return student


def narrow_rotated(
    model: PreTrainedModel, config: PreTrainedConfig, heads: Heads, scores: Scores, batches: Sequence[Batch]
) -> tuple[PreTrainedModel, float]:
    """As `narrow_hidden`, with the main directions of the stream in place of its channels; `scores` are those of `pca`.

    With `shrink` every head is rotated too, before it loses its last dimensions. Norms and masked-LM head are refitted on
    `batches`, which should be masked where the model has one.

    :returns: the new model, and what it lost: the squared error of its last states over the size of `model`'s.
    """
    found, made = shape_of(model.config), shape_of(config)
    basis_HK = basis(model, scores["moment"], made.hidden)
    work = copy.deepcopy(model)
    if heads == "shrink":
        rotate_heads(work, scores["moment"])
    rotate_stream(work, basis_HK)
    positions = _head_positions(found, made, heads, None if heads == "shrink" else scores)
    keep_dropped_biases(work, positions)
    student = cut(work, {"hidden": torch.arange(made.hidden), **positions}, config)
    del work
    if heads == "shrink":
        scale_queries(student, (made.hidden / found.hidden) ** 0.5)
    return student, refit_norms(student, model, basis_HK, batches)


def _channels(config: PreTrainedConfig, scores: Scores | None) -> torch.Tensor:
    width = shape_of(config).hidden
    return torch.arange(width) if scores is None else selection.best(scores["hidden"], width)


def _head_positions(found: Shape, made: Shape, heads: Heads, scores: Scores | None) -> selection.Keep:
    before, after = found.hidden // found.heads, made.hidden // made.heads
    if heads == "drop":
        return selection.heads_dropped(scores, found.layers, made.heads, found.heads, before)
    if heads == "shrink":
        return selection.heads_shrunk(scores, found.layers, found.heads, (before, after))
    return selection.heads_recut(found.layers, made.hidden)


@torch.no_grad()
def lower_rank(model: PreTrainedModel, rank: int) -> None:
    """Put the nearest matrix of rank `rank` in the place of every matrix of `model`; fused ones go part by part."""
    done: set[int] = set()
    for name, axes in parameter_axes(model).items():
        parameter = model.get_parameter(name)
        if parameter.dim() == 1 or id(parameter) in done:  # a tied matrix has two names
            continue
        done.add(id(parameter))
        for part in parameter.chunk(max(1, len(axes[0]))):
            long = part if part.shape[0] >= part.shape[1] else part.T
            if rank < long.shape[1]:
                main = torch.linalg.eigh((long.T @ long).double())[1][:, -rank:].to(long.dtype)
                long.copy_(long @ main @ main.T)


@torch.no_grad()
def keep_dropped_biases(model: PreTrainedModel, positions: selection.Keep) -> None:
    """Add to every attention output's bias what the value biases that a cut to `positions` drops give it, in place.

    Attention weights sum to 1, so a value's bias passes through as it is, whatever is attended to.
    """
    entry = architecture_of(model.config)
    for number, layer in enumerate(layers_of(model)):
        value, output = (layer.get_submodule(name) for name in (entry.value, entry.attention_output))
        bias, into = getattr(value, "bias", None), getattr(output, "bias", None)
        kept = positions[f"v.{number}"]
        if bias is None or into is None or entry.value == entry.query or len(kept) == len(bias):
            continue
        dropped = torch.ones(len(bias), dtype=torch.bool)
        dropped[kept] = False
        into += output.get_parameter("weight")[:, dropped] @ bias[dropped]


@torch.no_grad()
def scale_queries(model: PreTrainedModel, factor: float) -> None:
    """Multiply what every query projection of `model` gives, in place."""
    for layer in layers_of(model):
        for parameter in layer.get_submodule(architecture_of(model.config).query).parameters():
            parameter.mul_(factor)
