"""Scores on disk: written beside each result, and taken from there for another size of the same model and text."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ndogo.compressors.width.importance import Scores
from ndogo.core.errors import NdogoError
from ndogo.core.models import weights_digest

FILE = "importance.safetensors"


def what_is_scored(source: Path, kind: str, digest: str) -> dict[str, str]:
    """What scores depend on: the weights' bytes, the kind of importance, and the sampled text (empty where none is read)."""
    return {"kind": kind, "weights": weights_digest(source), "text": digest}


def save_scores(scores: Scores, out: Path, scored: dict[str, str]) -> None:
    """Write the scores into the folder `out`."""
    tensors = {key: tensor.detach().to(torch.float32).contiguous() for key, tensor in scores.items()}
    (out / FILE).write_bytes(_in_order(save(tensors, metadata=scored)))


def _in_order(raw: bytes) -> bytes:
    """The same file with its metadata in alphabetic order: the library's order is another one in every process."""
    size = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + size])
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    return raw[:8] + json.dumps(head, separators=(",", ":")).encode().ljust(size) + raw[8 + size :]


def load_scores(folder: Path, scored: dict[str, str]) -> Scores:
    """The scores that an earlier result holds, in its folder.

    :raises NdogoError: none there, unreadable, or of another model, text or kind of importance.
    """
    file = folder / FILE
    try:
        with safe_open(file, framework="pt") as opened:
            found = opened.metadata() or {}
            scores = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  it is no mapping
    except (OSError, SafetensorError) as error:
        raise NdogoError(f"The scores cannot be read: {error}", where=str(file)) from error
    other = [key for key, value in scored.items() if found.get(key) != value]
    if other:
        raise NdogoError(
            f"These scores are of another {' and '.join(other)}.",
            where=str(file),
            cure="Take the scores of a result with the same input model, text and importance, or score anew.",
        )
    return scores
