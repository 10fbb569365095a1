"""Refitting norms after a turn: a gain that is not diagonal in the new basis is replaced by the best diagonal one.

One pass over real text, norm by norm in the order of the computation: each gain and bias is the least-squares fit of what the
teacher's norm gives out, turned, so that later norms see what the earlier ones have become. No gradient, no training.
Shapes: N pieces, H hidden of the teacher, K of the student.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compressors.calibration import LOGIT_ROWS, Batch
from core.architectures import architecture_of, has_lm_head, lm_logits

FIT_PIECES = 4096
"""Pieces of text of a fit: at base size the teacher's norms give out 300 MB for them."""


@torch.no_grad()
def refit_norms(
    student: PreTrainedModel, teacher: PreTrainedModel, basis_HK: Tensor, batches: Sequence[Batch]
) -> float:
    """Fit the norms of `student` in place to those of `teacher`.

    :returns: what is lost: the squared error of the student's last states, turned back, over the size of the teacher's.
    """
    chosen = _some(batches)
    wanted: dict[str, Tensor] = {}
    states_NH = _watch(teacher, chosen, {name: partial(_keep, wanted, name) for name in _norms(teacher)})
    basis = basis_HK.to(states_NH.dtype)
    fits = {name: partial(_fit, wanted[name], basis) for name in _norms(student) if name in wanted}
    made_NK = _watch(student, chosen, fits)
    return float((made_NK @ basis.T - states_NH).square().sum() / states_NH.square().sum())


def _some(batches: Sequence[Batch]) -> Batch:
    """One batch of up to `FIT_PIECES` pieces with every length in it."""
    width = max(batch.ids.shape[1] for batch in batches)
    rows = [(ids, real, labels) for b in batches for ids, real, labels in zip(b.ids, b.real, b.labels, strict=True)]
    step = max(1, len(rows) * width // FIT_PIECES)
    parts = [torch.stack([_wide(row[part], width) for row in rows[::step]]) for part in range(3)]
    return Batch(*parts)


def _wide(row: Tensor, width: int) -> Tensor:
    return nn.functional.pad(row, (0, width - len(row)))


def _norms(model: PreTrainedModel) -> list[str]:
    """Names of the norms of the stream and of the masked-LM head."""
    entry = architecture_of(model.config)
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    head = entry.head if has_lm_head(model) else ()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm) and ((name.startswith(prefix) and name not in entry.head) or name in head)
    ]


def _watch(model: PreTrainedModel, batch: Batch, hooks: Mapping[str, Callable[..., object]]) -> Tensor:
    """Run a batch with a hook on each norm; the last states of its real pieces (N, H)."""
    put = [model.get_submodule(name).register_forward_hook(partial(hook, batch.real)) for name, hook in hooks.items()]
    try:
        states = model.base_model(input_ids=batch.ids, attention_mask=batch.real.long()).last_hidden_state[batch.real]
        if has_lm_head(model):
            lm_logits(model, states[:LOGIT_ROWS])
    finally:
        for hook in put:
            hook.remove()
    return states


def _keep(wanted: dict[str, Tensor], name: str, real: Tensor, _m: nn.Module, _i: object, out: Tensor) -> None:
    wanted[name] = out[real] if out.dim() == 3 else out


def _fit(
    wanted_NH: Tensor, basis: Tensor, real: Tensor, norm: nn.LayerNorm, inputs: tuple[Tensor, ...], _out: Tensor
) -> Tensor:
    plain = nn.functional.layer_norm(inputs[0], norm.normalized_shape, eps=norm.eps)
    plain_NK = plain[real] if plain.dim() == 3 else plain
    target_NK = wanted_NH @ basis
    if norm.bias is None:
        norm.weight.copy_((plain_NK * target_NK).sum(0) / plain_NK.square().sum(0).clamp(min=1e-12))
        return plain * norm.weight
    mean_K, wish_K = plain_NK.mean(0), target_NK.mean(0)
    spread_K = (plain_NK - mean_K).square().sum(0).clamp(min=1e-12)
    norm.weight.copy_(((plain_NK - mean_K) * (target_NK - wish_K)).sum(0) / spread_K)
    norm.bias.copy_(wish_K - norm.weight * mean_K)
    return plain * norm.weight + norm.bias
