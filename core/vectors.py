"""A model's states become the vector of a text: pooling, and the dense layers behind it. Its folder says how (`sentences`).

Shapes: B texts, L positions, H hidden width, T width of the vector.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ndogo.core.documents import read_json
from ndogo.core.errors import NdogoError
from ndogo.core.sentences import Vectors, dense_weights, read_vectors


def pool(states_BLH: Tensor, real_BL: Tensor, pooling: str) -> Tensor:
    """One vector per text, (B, H), from its real positions, specials included."""
    if pooling == "cls":
        return states_BLH[:, 0]
    real_BL1 = real_BL[..., None]
    if pooling == "max":
        return states_BLH.masked_fill(~real_BL1, torch.finfo(states_BLH.dtype).min).amax(1)
    return (states_BLH * real_BL1).sum(1) / real_BL1.sum(1)


def read_dense(folder: Path, vectors: Vectors) -> nn.Sequential:
    """The dense layers behind the pooling, (B, H) -> (B, T); nothing where there is none.

    :raises NdogoError: no safetensors, or a file that cannot be read.
    """
    layers: list[nn.Module] = []
    for name in vectors.dense:
        settings, weights = read_json(folder / name / "config.json"), dense_weights(folder / name)
        matrix, bias = weights["linear.weight"], weights.get("linear.bias")
        layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None)
        layer.load_state_dict({"weight": matrix} | ({} if bias is None else {"bias": bias}))
        layers += [layer, _activation(settings, folder / name)]
    return nn.Sequential(*layers).requires_grad_(False)


def dense_parameters(folder: Path) -> int:
    """Parameters of the dense layers behind the pooling."""
    return sum(parameter.numel() for parameter in read_dense(folder, read_vectors(folder)).parameters())


def _activation(settings: Mapping[str, Any], folder: Path) -> nn.Module:
    name = str(settings.get("activation_function", "Identity")).rpartition(".")[2]
    known: dict[str, type[nn.Module]] = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}
    if name not in known:
        raise NdogoError(f"`{name}` behind a dense layer is not known.", where=str(folder / "config.json"))
    return known[name]()
