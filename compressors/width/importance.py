"""How much each unit matters, scored once for every key so that many target sizes can reuse it.

Scores are one tensor per key: `hidden` (H,), and per layer `qk.i`, `v.i` (H,), `ffn.i` (F,), `head.i` (heads,).
Sites are what a cut would zero: norm outputs (hidden), projected queries (qk), what goes into attention's output projection
(v, head) and into the second FFN matrix (ffn). Shapes: B sequences, L tokens, W width of the site.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ndogo.compressors.calibration import LOGIT_ROWS, SEED, final_states
from ndogo.core.architectures import architecture_of, has_lm_head, layers_of, lm_logits, shape_of
from ndogo.core.axes import parameter_axes
from ndogo.core.batches import Batch
from ndogo.core.errors import NdogoError
from ndogo.core.masking import IGNORED
from ndogo.core.progress import Report

Scores = dict[str, Tensor]
FORWARD = ("activation", "pca")
"""Kinds that need no gradient."""
GRADIENT_TOKENS = 1024
"""Padded tokens of a pass that keeps gradients: what it keeps of each token is about 1 MB in a model of base size."""


def score(model: PreTrainedModel, kind: str, batches: Sequence[Batch], report: Report) -> Scores:
    """Scores of every unit of the model, which is left untouched. `batches` is empty for `magnitude`.
    `kind`: magnitude, activation, taylor, self or pca.

    magnitude: norms of the weights. activation: forward only, mean size over a sequence, root of the sum of squares over
    sequences. taylor: first-order change of the masked-LM loss when the unit is zeroed, sum over sequences of its size; of a
    model without a masked-LM head, that of the squared distance of its states over masked text to those over the whole text.
    self: the same with answers drawn from the model's own output and squared (the diagonal Fisher information), so that
    neither labels nor a masked-LM head are needed.

    pca: as activation, and `moment` (H, H), the second moment of the residual stream.

    :raises NdogoError: no text.
    """
    if kind == "magnitude":
        return magnitude(model)
    if not batches:
        raise NdogoError(f"`{kind}` is measured on text, and there is none.", where=f"importance: {kind}")
    return _measured(model, kind, batches, report)


def magnitude(model: PreTrainedModel) -> Scores:
    """Root of the summed squares of all weights of a unit; each tensor first divided by its own mean, so that none outweighs."""
    sums: Scores = {}
    for name, axes in parameter_axes(model).items():
        parameter = model.get_parameter(name).detach().float()
        for dimension, axis in enumerate(axes):
            if not axis or parameter.dim() == 1:
                continue
            others = [other for other in range(parameter.dim()) if other != dimension]
            squares = parameter.square().sum(dim=others)
            for key, part in zip(axis, squares.chunk(len(axis)), strict=True):
                sums[key] = sums.get(key, torch.zeros(())) + part / squares.mean()
    scores = {key: total.sqrt() for key, total in sums.items()}
    heads = shape_of(model.config).heads
    for layer in range(len(layers_of(model))):
        per_head = sum(sums[f"{side}.{layer}"].view(heads, -1).sum(1) for side in ("qk", "v"))
        assert isinstance(per_head, Tensor)
        scores[f"head.{layer}"] = per_head.sqrt()
    return scores


def _measured(model: PreTrainedModel, kind: str, batches: Sequence[Batch], report: Report) -> Scores:
    sums: Scores = {}
    gradients = kind not in FORWARD
    parts = [part for batch in batches for part in (_split(batch) if gradients else [batch])]
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.requires_grad_(False)  # gradients of activations only: a third of the memory, and no weight's is needed
    try:
        for number, part in enumerate(parts):
            note = _Tally(sums, kind, part.real)
            with _sites(model, note), torch.set_grad_enabled(gradients):
                _RUNS[kind](model, part, number)
            report(f"scoring units ({kind})", number + 1, len(parts))
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in learning)
    whole = {"moment"} if kind != "taylor" else set(sums)  # the rest are sums of squares
    return {key: (total if key in whole else total.sqrt()).float() for key, total in sums.items()}


@dataclass(frozen=True)
class _Tally:
    """Adds what the sites of one batch tell to the sums of a kind of importance."""

    sums: Scores
    kind: str
    real: Tensor

    def __call__(self, key: str, heads: int, value: Tensor, width: int | None = None) -> None:
        """Note the first `width` of a site's output (B, L, W), or have their gradient noted when it comes."""
        if self.kind in FORWARD:
            self._forward(key, heads, value[..., :width])
            return

        def arrived(gradient: Tensor) -> None:
            change_BW = (value.detach() * gradient).sum(1)[:, :width]
            self._add(key, _total(change_BW, self.kind))
            if heads:
                self._add(_head(key), _total(change_BW.unflatten(-1, (heads, -1)).sum(-1), self.kind))

        if key != "stream" and value.requires_grad:  # else the pass only looks
            value.register_hook(arrived)

    def _forward(self, key: str, heads: int, value: Tensor) -> None:
        if self.kind == "pca" and key in ("hidden", "stream"):  # of unit size, so that no site outweighs
            rows = value[self.real]
            self._add("moment", rows.T @ rows * (len(rows) / rows.square().sum()))
        if key == "stream":
            return
        self._add(key, _mean_size(value, self.real).square().sum(0))
        if heads:
            size = value.unflatten(-1, (heads, -1)).square().sum(-1).sqrt()
            self._add(_head(key), _mean_size(size, self.real).square().sum(0))

    def _add(self, key: str, part: Tensor) -> None:
        self.sums[key] = self.sums.get(key, torch.zeros((), dtype=torch.float64)) + part.double()


def _head(key: str) -> str:
    return key.replace("v.", "head.")


def _mean_size(value: Tensor, real: Tensor) -> Tensor:
    return (value.abs() * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def _total(change_BW: Tensor, kind: str) -> Tensor:
    return (change_BW.square() if kind == "self" else change_BW.abs()).sum(0)


@contextmanager
def _sites(model: PreTrainedModel, note: Callable[..., None]) -> Iterator[None]:
    """While open, `note(key, heads, value)` sees every site; heads is 0 except where a site is made of heads. Of a fused
    projection only the width given after the value counts.
    """
    entry, heads = architecture_of(model.config), shape_of(model.config).heads
    hooks = []
    for module in model.base_model.modules():
        if entry.norm.made(module):
            hooks.append(module.register_forward_hook(lambda _m, _i, out: note("hidden", 0, out)))
    for number, layer in enumerate(layers_of(model)):
        hooks.append(layer.register_forward_hook(lambda _m, _i, out: note("stream", 0, _tensor(out))))
        before, after = partial(_before, note, number, heads), partial(_after, note, number, entry.fused_qkv)
        hooks.append(layer.get_submodule(entry.query).register_forward_hook(after))
        hooks.append(layer.get_submodule(entry.attention_output).register_forward_pre_hook(partial(before, "v")))
        hooks.append(layer.get_submodule(entry.ffn_out).register_forward_pre_hook(partial(before, "ffn")))
    first = model.get_input_embeddings().register_forward_hook(
        lambda _m, _i, out: out.requires_grad_(torch.is_grad_enabled())
    )
    try:
        yield
    finally:
        for hook in (*hooks, first):
            hook.remove()


def _tensor(out: Tensor | tuple[Tensor, ...]) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def _before(
    note: Callable[..., None], layer: int, heads: int, part: str, _m: nn.Module, inputs: tuple[Tensor, ...]
) -> None:
    note(f"{part}.{layer}", heads if part == "v" else 0, inputs[0])


def _after(note: Callable[..., None], layer: int, fused: bool, _m: nn.Module, _i: object, out: Tensor) -> None:
    note(f"qk.{layer}", 0, out, out.shape[-1] // 3 if fused else None)


def _split(batch: Batch) -> list[Batch]:
    rows = max(1, GRADIENT_TOKENS // batch.ids.shape[1])
    parts = zip(batch.ids.split(rows), batch.real.split(rows), batch.labels.split(rows), strict=True)
    return [Batch(*part) for part in parts]


def _forward(model: PreTrainedModel, part: Batch, _number: int) -> None:
    model.base_model(input_ids=part.ids, attention_mask=part.real.long())


def _taylor(model: PreTrainedModel, part: Batch, _number: int) -> None:
    if not has_lm_head(model):
        whole = torch.where(part.labels == IGNORED, part.ids, part.labels)
        with torch.no_grad():
            wished = final_states(model, Batch(whole, part.real, part.labels))
        (final_states(model, part) - wished).square().sum().backward()
        return
    states = model.base_model(input_ids=part.ids, attention_mask=part.real.long()).last_hidden_state
    wanted = part.labels != IGNORED
    _masked_backward(model, states, wanted, part.labels[wanted])


def _self(model: PreTrainedModel, part: Batch, number: int) -> None:
    """One draw from the model's own output distribution per place: masked tokens, a task head's answers, or else states
    with normal noise of unit variance, whose gradient is the noise itself.
    """
    draw = torch.Generator().manual_seed(SEED * 1_000_003 + number)
    if has_lm_head(model):
        states = model.base_model(input_ids=part.ids, attention_mask=part.real.long()).last_hidden_state
        _masked_backward(model, states, part.labels != IGNORED, None, draw)
        return
    out = model(input_ids=part.ids, attention_mask=part.real.long())
    if "logits" not in out:
        states = out.last_hidden_state
        noise = torch.randn(states.shape, generator=draw).to(states.device)
        (states * noise * part.real[..., None]).sum().backward()
        return
    logits = out.logits[part.real] if out.logits.dim() == 3 else out.logits
    _cross_entropy(logits, _drawn(logits, draw)).backward()


def _masked_backward(
    model: PreTrainedModel, states: Tensor, wanted: Tensor, labels: Tensor | None, draw: torch.Generator | None = None
) -> None:
    """Backward from the logits of masked places, a few at a time; labels are drawn from the logits where none are given."""
    rows = states[wanted].detach().requires_grad_(True)
    for start in range(0, len(rows), LOGIT_ROWS):
        span = slice(start, start + LOGIT_ROWS)
        logits = lm_logits(model, rows[span])
        _cross_entropy(logits, _drawn(logits, draw) if labels is None else labels[span]).backward()
    if len(rows):
        states[wanted].backward(rows.grad)


def _drawn(logits: Tensor, draw: torch.Generator | None) -> Tensor:
    shares = logits.detach().softmax(-1).cpu()  # where the generator is, so that every device draws alike
    return torch.multinomial(shares, 1, generator=draw)[:, 0].to(logits.device)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, reduction="sum")


_RUNS: Mapping[str, Callable[[PreTrainedModel, Batch, int], None]] = {
    "activation": _forward,
    "pca": _forward,
    "taylor": _taylor,
    "self": _self,
}
