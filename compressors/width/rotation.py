"""`select: pca`: rotate the residual stream so that its main directions come first, then cut the rest off.

The subspace is that of the main directions of what the norms give out over real text. Within it the basis is free. Two things
choose it. A norm that subtracts the mean takes away the all-ones direction: where it does, that direction is in the subspace and
comes out as the all-ones direction of the new channels, exactly, or the norm would take away something else. And a norm scales
single channels, so the basis is near the one in which the norms' mean gain is diagonal; below full width it cannot be quite so.
That, and the nonlinearity of the masked-LM head, is what a rotation loses; at full width the basis comes out as the channels
themselves in another order, and nothing is lost but rounding.
Shapes: H hidden, K kept, d a head's dimensions. A basis is (H, K) with orthonormal columns.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ndogo.core.architectures import architecture_of, has_lm_head, layers_of, prefix_of, shape_of
from ndogo.core.axes import HIDDEN, module_axes

Sides = Callable[[str], tuple[bool, bool]]


def basis(model: PreTrainedModel, moment_HH: Tensor, width: int) -> Tensor:
    """The (H, K) basis of the kept subspace; where norms subtract the mean, all-ones of H is all-ones of K in it."""
    norm, hidden = architecture_of(model.config).norm, len(moment_HH)
    ones_H = torch.full((hidden,), hidden**-0.5, dtype=torch.float64)
    main_HK = _main(moment_HH.double(), ones_H if norm.centred else None, width)
    norms = [module for module in model.base_model.modules() if norm.made(module)]
    gains = [module.get_parameter("weight").detach().double() for module in norms]
    mean_H = torch.stack([gain / gain.abs().mean() for gain in gains]).mean(0)
    mean_H += torch.linspace(0, 1e-6, len(mean_H))  # equal gains would leave the basis open
    _, within_KK = torch.linalg.eigh(main_HK.T @ (mean_H[:, None] * main_HK))
    found_HK: Tensor = main_HK @ within_KK
    if norm.centred:
        return _turned(found_HK * torch.where(ones_H @ found_HK < 0, -1.0, 1.0), ones_H)
    largest_K = found_HK.abs().argmax(0)
    return found_HK * found_HK[largest_K, torch.arange(width)].sign()


def _main(moment_HH: Tensor, kept_H: Tensor | None, width: int) -> Tensor:
    """The main directions (H, K), with `kept_H` as one of them and the others across it."""
    if kept_H is None:
        main_HK: Tensor = torch.linalg.eigh(moment_HH)[1].flip(1)[:, :width]
        return main_HK
    across_HH = torch.eye(len(kept_H), dtype=torch.float64) - torch.outer(kept_H, kept_H)
    others = torch.linalg.eigh(across_HH @ moment_HH @ across_HH)[1].flip(1)[:, : width - 1]
    main_HK, _ = torch.linalg.qr(torch.cat([kept_H[:, None], others], dim=1))
    return main_HK


def _turned(found_HK: Tensor, ones_H: Tensor) -> Tensor:
    """The basis turned, no further than needed, so that `ones_H`, which lies in it, has one coordinate in every direction."""
    width = found_HK.shape[1]
    from_K, to_K = ones_H @ found_HK, torch.full((width,), width**-0.5, dtype=torch.float64)
    both_K = from_K + to_K  # a turn in one plane, as two reflections
    turn_KK = torch.eye(width, dtype=torch.float64) - torch.outer(both_K, both_K) / (1 + from_K @ to_K)
    turn_KK += 2 * torch.outer(from_K, to_K)
    return found_HK @ turn_KK


@torch.no_grad()
def rotate_stream(model: PreTrainedModel, basis_HK: Tensor) -> None:
    """Rotate `model` in place: its first K channels become the basis, its other channels 0.

    What reads the stream reads it rotated and what writes it writes it rotated. Heads that leave the stream by a nonlinearity
    and answer in labels (pooler, classifier) keep their inner channels, those that weigh most first.
    """
    stream_HH = torch.zeros(len(basis_HK), len(basis_HK), dtype=torch.float64)
    stream_HH[:, : basis_HK.shape[1]] = basis_HK
    apart = _apart(model)
    inner_HH = torch.eye(len(stream_HH), dtype=torch.float64)[:, _inner_order(model, apart)]
    done: set[int] = set()
    norm = architecture_of(model.config).norm
    for name, axes in module_axes(model).items():
        module = model.get_submodule(name)
        if id(module.weight) in done:  # a tied matrix is rotated once
            continue
        done.add(id(module.weight))
        out_HH, in_HH = (inner_HH if inner else stream_HH for inner in apart(name))
        if norm.made(module):
            norm.rotate(module, out_HH)
        else:
            _rotate_module(module, (out_HH if axes[0] == HIDDEN else None, in_HH if axes[1] == HIDDEN else None))


def _rotate_module(module: nn.Module, by: tuple[Tensor | None, Tensor | None]) -> None:
    out_HH, in_HH = by
    weight, bias = module.weight, getattr(module, "bias", None)
    assert isinstance(weight, Tensor)
    if isinstance(module, nn.Embedding) and out_HH is not None:
        weight.copy_(weight @ out_HH.to(weight.dtype))  # single precision: the vocabulary twice in double would be 3 GB
    elif out_HH is not None:
        weight.copy_(out_HH.T @ weight.double())
    if isinstance(bias, Tensor) and out_HH is not None:
        bias.copy_(bias.double() @ out_HH)
    if in_HH is not None:
        weight.copy_(weight @ in_HH.to(weight.dtype))


@torch.no_grad()
def rotate_heads(model: PreTrainedModel, moment_HH: Tensor) -> None:
    """Rotate every head of `model` in place so that its first dimensions carry most, without changing what it computes.

    Query and key together keep their products, value and output theirs; most is meant over the stream's second moment.
    Not for rotary positions, which hold on to their dimensions.
    """
    entry, heads = architecture_of(model.config), shape_of(model.config).heads
    values, vectors = torch.linalg.eigh(moment_HH.double())
    root_HH = vectors * values.clamp(min=1e-12).sqrt() @ vectors.T
    for layer in layers_of(model):
        parts = [layer.get_submodule(name) for name in (entry.query, entry.key, entry.value, entry.attention_output)]
        query, key, value, output = parts
        for rows in torch.arange(shape_of(model.config).hidden).chunk(heads):
            q_HR = torch.linalg.qr((_rows(query, rows) @ root_HH).T)
            k_HR = torch.linalg.qr((_rows(key, rows) @ root_HH).T)
            u_RR, s_R, v_RR = torch.linalg.svd(q_HR.R @ k_HR.R.T)
            root_R = s_R.sqrt()[:, None]
            _rotate_rows(query, rows, root_R * (torch.linalg.pinv(q_HR.R) @ u_RR).T)
            _rotate_rows(key, rows, root_R * (torch.linalg.pinv(k_HR.R) @ v_RR.T).T)
            o_HR = torch.linalg.qr(_columns(output, rows))
            into_HR = torch.linalg.qr((_rows(value, rows) @ root_HH).T)
            u_RR = torch.linalg.svd(o_HR.R @ into_HR.R.T)[0]
            _rotate_rows(value, rows, u_RR.T @ o_HR.R)
            weight = output.weight
            assert isinstance(weight, Tensor)
            weight[:, rows] = (o_HR.Q @ u_RR).to(weight.dtype)


def _rows(module: nn.Module, rows: Tensor) -> Tensor:
    return module.get_parameter("weight").double()[rows]


def _columns(module: nn.Module, columns: Tensor) -> Tensor:
    return module.get_parameter("weight").double()[:, columns]


def _rotate_rows(module: nn.Module, rows: Tensor, by_RR: Tensor) -> None:
    for parameter in module.parameters(recurse=False):
        parameter[rows] = (by_RR @ parameter.double()[rows]).to(parameter.dtype)


def _tied(model: PreTrainedModel) -> bool:
    return has_lm_head(model) and bool(getattr(model.config, "tie_word_embeddings", False))


def _apart(model: PreTrainedModel) -> Sides:
    """For a module's name, whether its (out, in) channels are apart from the stream: inner ones of a head with no tie to it."""
    entry = architecture_of(model.config)
    prefix = prefix_of(model)
    names, tied = dict(model.named_modules()), _tied(model)
    inner = entry.head if not tied else ()
    squares = {name for name in (*inner, f"{prefix}{entry.pooler}") if name in names}
    after = ({*entry.readouts, entry.decoder} if squares else set()) - ({entry.decoder} if tied else set())
    norms = {name for name in squares if entry.norm.made(names[name])}

    def sides(name: str) -> tuple[bool, bool]:
        return (name in squares, name in norms or name in after)

    return sides


def _inner_order(model: PreTrainedModel, apart: Sides) -> Tensor:
    """Inner channels by what their readers weigh, heaviest first."""
    total = torch.zeros(shape_of(model.config).hidden, dtype=torch.float64)
    for name in module_axes(model):
        module = model.get_submodule(name)
        if apart(name)[1] and isinstance(module, nn.Linear):
            total += module.weight.detach().double().square().sum(0)
    return torch.argsort(total, descending=True, stable=True)
