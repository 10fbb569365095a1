"""The modules of a sentence-transformers folder, as plain torch: pooling, Dense, normalisation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ndogo.core.errors import NdogoError

LIST = "modules.json"

ACTIVATIONS: dict[str, type[nn.Module]] = {
    name: getattr(nn, name) for name in ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid")
}
"""What a Dense module may end with; its configuration names a class, and no class is imported by name."""


def _weights(mask_BL: Tensor) -> Tensor:
    return mask_BL.unsqueeze(-1).float()


def _mean(states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
    weights = _weights(mask_BL)
    return (states_BLH * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _mean_sqrt(states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
    weights = _weights(mask_BL)
    return (states_BLH * weights).sum(1) / weights.sum(1).clamp(min=1e-9).sqrt()


def _max(states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
    return states_BLH.masked_fill(mask_BL.unsqueeze(-1) == 0, -1e9).amax(1)


def _cls(states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
    return states_BLH[:, 0]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _cls, "max": _max, "mean": _mean, "mean_sqrt_len_tokens": _mean_sqrt,
}  # fmt: skip
"""States (B, L, H) and mask (B, L) to vectors (B, H)."""

FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""How older configurations say the mode: one flag each, and vectors side by side in this order where several are set."""


class Pooling(nn.Module):
    """Vectors of one or several modes, side by side."""

    def __init__(self, modes: list[str]) -> None:
        super().__init__()
        self.modes = modes

    def forward(self, states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """(B, L, H) and (B, L) to (B, modes x H)."""
        return torch.cat([POOLINGS[mode](states_BLH, mask_BL) for mode in self.modes], dim=-1)


class Normalize(nn.Module):
    """Vectors of length one."""

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, H) to (B, H)."""
        return nn.functional.normalize(vectors, p=2.0, dim=1)


def is_sentence_folder(path: Path) -> bool:
    """Whether a model directory is also a sentence-transformers folder."""
    return (path / LIST).is_file()


def sentence_modules(path: Path) -> tuple[Pooling, list[nn.Module]]:
    """The pooling of a sentence-transformers folder and what follows it, in order.

    :raises NdogoError: a module, mode or activation that is not known, or pickled weights.
    """
    listed = sorted(_json(path / LIST), key=lambda entry: entry["idx"])
    kinds = [str(entry["type"]).rsplit(".", 1)[-1] for entry in listed]
    if kinds[:2] != ["Transformer", "Pooling"] or listed[0]["path"]:
        raise NdogoError(
            f"The modules are {', '.join(kinds)}; a Transformer in the folder itself and a Pooling must come first.",
            where=str(path / LIST),
        )
    after = [_module(path, kind, entry) for kind, entry in zip(kinds[2:], listed[2:], strict=True)]
    return Pooling(_modes(path / listed[1]["path"] / "config.json")), after


def max_length(path: Path) -> int | None:
    """The longest input that a sentence-transformers folder states, in tokens."""
    file = path / "sentence_bert_config.json"
    return _json(file).get("max_seq_length") if file.is_file() else None


def _modes(file: Path) -> list[str]:
    config = _json(file)
    named = config.get("pooling_mode")
    modes = [named] if isinstance(named, str) else list(named or [m for flag, m in FLAGS.items() if config.get(flag)])
    unknown = [mode for mode in modes if mode not in POOLINGS]
    if unknown or not modes:
        raise NdogoError(
            f"The pooling mode `{', '.join(unknown) or 'none'}` cannot be exported.",
            where=str(file),
            cure=f"Known: {', '.join(POOLINGS)}.",
        )
    return modes


def _module(path: Path, kind: str, entry: dict[str, Any]) -> nn.Module:
    if kind == "Normalize":
        return Normalize()
    if kind != "Dense":
        raise NdogoError(
            f"The module `{kind}` cannot be exported.",
            where=str(path / LIST),
            cure="Known after the pooling: Dense, Normalize.",
        )
    folder = path / entry["path"]
    config = _json(folder / "config.json")
    name = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if name not in ACTIVATIONS:
        known = f"Known: {', '.join(ACTIVATIONS)}."
        raise NdogoError(f"The activation `{name}` cannot be exported.", where=str(folder / "config.json"), cure=known)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise NdogoError(
            "The Dense module has no model.safetensors; pickled weights are not read.",
            where=str(folder),
            cure="Save the folder again with a recent sentence-transformers.",
        )
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    weights = {key.removeprefix("linear."): value.float() for key, value in load_file(file).items()}
    try:
        linear.load_state_dict(weights)
    except RuntimeError as error:
        raise NdogoError(f"The weights do not fit the configuration: {error}", where=str(file)) from error
    return nn.Sequential(linear, ACTIVATIONS[name]())


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NdogoError(f"The file cannot be read: {error}", where=str(file)) from error
