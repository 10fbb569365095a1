"""Refitting after a rotation, in closed form on real text: no gradient, no training.

A gain that is not diagonal in the new basis is replaced by the best diagonal one: in one pass, norm by norm in the order of the
computation, gain and bias are the least-squares fit of what the teacher's norm gives out, rotated, so that later norms see what
the earlier ones have become. The masked-LM head has a nonlinearity between two rotated sides, which no rotation goes through:
where it fits better, its matrix becomes the ridge regression onto the teacher's head states, lifted to where the nonlinearity
is the identity (the norm behind it takes the lift off again).
Shapes: N tokens, H hidden of the teacher, K of the student.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ndogo.core.architectures import architecture_of, find, has_lm_head, lm_logits
from ndogo.core.batches import Batch
from ndogo.core.parts import Norm

FIT_TOKENS = 8192
"""Tokens of text of a fit: at base size the teacher's norms give out 600 MB for them."""
RIDGE = 1e-3
"""Of the mean square of an input: keeps the regression tame where the text says little."""
LIFT = 6.0
"""Above this, GELU and its like are the identity to single precision."""


@torch.no_grad()
def refit_norms(
    student: PreTrainedModel, teacher: PreTrainedModel, basis_HK: Tensor, batches: Sequence[Batch]
) -> float:
    """Fit the norms of `student` in place to those of `teacher`.

    :returns: what is lost: the squared error of the student's last states, rotated back, over the size of the teacher's.
    """
    chosen = _some(batches)
    wanted: dict[str, Tensor] = {}
    states_NH = _watch(teacher, chosen, {name: partial(_keep, wanted, name) for name in _norms(teacher)})
    basis = basis_HK.to(states_NH.dtype)
    fit = partial(_fit, architecture_of(student.config).norm)
    made_NK = _watch(student, chosen, {name: partial(fit, wanted.pop(name) @ basis) for name in _norms(student)})
    if has_lm_head(student):
        _fit_head(student, made_NK, _head_states(teacher, states_NH) @ basis)
    return float((made_NK @ basis.T - states_NH).square().sum() / states_NH.square().sum())


def _fit_head(student: PreTrainedModel, states_NK: Tensor, wanted_NK: Tensor) -> None:
    """Fit the head's norm, with the matrix as it was rotated or as a regression, whichever comes nearer."""
    entry = architecture_of(student.config)
    modules = [student.get_submodule(name) for name in entry.head if find(student, name)]
    if not modules:  # the vocabulary's matrix alone, which was rotated without a loss
        return
    dense = next(module for module in modules if isinstance(module, nn.Linear))
    norm = next(module for module in modules if entry.norm.made(module))
    fit = partial(_fit, entry.norm, wanted_NK, None)

    def fitted() -> float:
        hook = norm.register_forward_hook(fit)
        try:
            return float((_head_states(student, states_NK) - wanted_NK).square().sum())
        finally:
            hook.remove()

    rotated_error = fitted()
    if dense.bias is None:  # nothing to lift with
        return
    before = [parameter.clone() for parameter in (*dense.parameters(), *norm.parameters())]
    given = torch.cat([states_NK, torch.ones(len(states_NK), 1)], dim=1).double()
    square = given.T @ given
    square += torch.eye(len(square)) * RIDGE * square.diagonal().mean()
    matrix = torch.linalg.solve(square, given.T @ wanted_NK.double())
    lift = LIFT - (given @ matrix).min()
    dense.weight.copy_(matrix[:-1].T)
    dense.bias.copy_(matrix[-1] + lift)
    if fitted() > rotated_error:
        for parameter, old in zip((*dense.parameters(), *norm.parameters()), before, strict=True):
            parameter.copy_(old)


def _head_states(model: PreTrainedModel, states_NH: Tensor) -> Tensor:
    """What the masked-LM head hands to the vocabulary's matrix, which itself sees one row only."""
    seen: list[Tensor] = []

    def taken(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        seen.append(inputs[0])
        return (inputs[0][:1],)

    hook = model.get_submodule(architecture_of(model.config).decoder).register_forward_pre_hook(taken)
    try:
        lm_logits(model, states_NH)
    finally:
        hook.remove()
    return seen[0]


def _some(batches: Sequence[Batch]) -> Batch:
    """One batch of up to `FIT_TOKENS` tokens with every length in it."""
    width = max(batch.ids.shape[1] for batch in batches)
    rows = [(ids, real, labels) for b in batches for ids, real, labels in zip(b.ids, b.real, b.labels, strict=True)]
    step = max(1, len(rows) * width // FIT_TOKENS)
    parts = [torch.stack([_wide(row[part], width) for row in rows[::step]]) for part in range(3)]
    return Batch(*parts)


def _wide(row: Tensor, width: int) -> Tensor:
    return nn.functional.pad(row, (0, width - len(row)))


def _norms(model: PreTrainedModel) -> list[str]:
    """Names of the norms of the stream."""
    entry = architecture_of(model.config)
    names = {module: name for name, module in model.named_modules()}
    found = [names[module] for module in model.base_model.modules() if entry.norm.made(module)]
    return [name for name in found if name not in entry.head]


def _watch(model: PreTrainedModel, batch: Batch, hooks: Mapping[str, Callable[..., object]]) -> Tensor:
    """Run a batch with a hook on each norm; the last states of its real tokens (N, H)."""
    put = [model.get_submodule(name).register_forward_hook(partial(hook, batch.real)) for name, hook in hooks.items()]
    try:
        states: Tensor = model.base_model(input_ids=batch.ids, attention_mask=batch.real.long()).last_hidden_state
        return states[batch.real]
    finally:
        for hook in put:
            hook.remove()


def _keep(wanted: dict[str, Tensor], name: str, real: Tensor, _m: nn.Module, _i: object, out: Tensor) -> None:
    wanted[name] = out[real]


def _fit(
    kind: Norm,
    target_NK: Tensor,
    real: Tensor | None,
    norm: nn.Module,
    inputs: tuple[Tensor, ...],
    _out: Tensor,
) -> Tensor:
    """Set gain and bias of a norm to the least-squares fit; what it gives out with them."""
    plain = kind.plain(norm, inputs[0])
    plain_NK = plain if real is None else plain[real]
    gain_K = norm.get_parameter("weight")
    bias_K: Tensor | None = getattr(norm, "bias", None)
    if bias_K is None:
        gain_K.copy_((plain_NK * target_NK).sum(0) / plain_NK.square().sum(0).clamp(min=1e-12))
        return plain * gain_K
    mean_K, wish_K = plain_NK.mean(0), target_NK.mean(0)
    spread_K = (plain_NK - mean_K).square().sum(0).clamp(min=1e-12)
    gain_K.copy_(((plain_NK - mean_K) * (target_NK - wish_K)).sum(0) / spread_K)
    bias_K.copy_(wish_K - gain_K * mean_K)
    return plain * gain_K + bias_K
