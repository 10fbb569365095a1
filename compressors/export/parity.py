"""Whether a file answers as the PyTorch model does: real lines, alone and in padded batches.

Legend: L tokens, N answers of all lines, K numbers of one answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import PreTrainedTokenizerBase

from ndogo.compressors.export.heads import ANSWERS, Exportable
from ndogo.compressors.export.precision import Precision, full_tables
from ndogo.core.errors import NdogoError
from ndogo.core.exported import HIDDEN

BATCH = 8
"""Lines of a padded batch."""


@dataclass(frozen=True)
class Tolerance:
    """How far a file may be from PyTorch."""

    cosine: float
    """The least mean cosine of answers and of states."""
    agreement: float
    """The least share of equal predictions; for vectors, of lines that have the same nearest other line."""
    difference: float = np.inf
    """The largest difference of an answer, relative to the largest answer."""


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(cosine=0.99999, agreement=0.999, difference=1e-3),
    "fp16": Tolerance(cosine=0.9999, agreement=0.99, difference=1e-2),
    "int8": Tolerance(cosine=0.98, agreement=0.75),
}
"""int8 is refused only where it is broken; how much it really loses, benchmarks say."""

TIE = 1e-4
"""A prediction that differs is a tie where PyTorch's two values are closer than this, relative to the largest."""


@dataclass(frozen=True)
class Parity:
    """How near a file is to PyTorch, over all answers; the lower of lines alone and lines in padded batches."""

    lines: int
    answers: int
    cosine: float
    cosine_states: float
    difference: float
    """The largest of an answer, relative to the largest answer."""
    agreement: float
    ties: float
    """The share of the predictions that differ which are ties in PyTorch."""

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def session_of(model: onnx.ModelProto | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """A file ready to run on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    raw = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


Answer = tuple[np.ndarray, np.ndarray]
"""Of one line: its answers (N, K), and its states (L, H)."""


@dataclass(frozen=True)
class Reference:
    """Lines as tokens, and what PyTorch answers to each alone."""

    source: Exportable
    ids: list[list[int]]
    answers: list[Answer]


def reference(source: Exportable, tokenizer: PreTrainedTokenizerBase, lines: Sequence[str]) -> Reference:
    """PyTorch's answers to lines, which are cut where the model's positions end."""
    limit = limit_of(source, tokenizer)
    ids = [tokenizer(line, truncation=True, max_length=limit)["input_ids"] for line in lines]
    return Reference(source, ids, [_by_torch(source, row) for row in ids])


def parity(expected: Reference, file: bytes) -> Parity:
    """Compare a file with the model that it was made from, on each line alone and in padded batches.

    PyTorch read each line alone: what padding changes counts as an error.
    """
    session, source, ids = session_of(file), expected.source, expected.ids
    alone = [found for row in ids for found in _by_file(session, source, [row])]
    order = np.argsort([len(row) for row in ids], kind="stable")
    step = max(1, len(ids) // BATCH)
    padded = list(alone)
    for first in range(step):  # long and short lines together, so that there is padding
        chosen = order[first::step]
        for i, found in zip(chosen, _by_file(session, source, [ids[i] for i in chosen]), strict=True):
            padded[i] = found
    return _lower(_measured(source, expected.answers, alone), _measured(source, expected.answers, padded))


def refuse(precision: Precision, found: Parity, file: bytes, where: str) -> None:
    """Refuse a file that is not what it says.

    :raises NdogoError: an int8 file with a table or matrix in fp32 or fp16, or answers beyond the precision's tolerance.
    """
    left = full_tables(onnx.load_from_string(file)) if precision == "int8" else []
    if left:
        raise NdogoError(
            f"The int8 file holds {len(left)} matrices that are not int8, first `{left[0]}`.",
            where=where,
            cure="This is a fault of the export; please report the model.",
        )
    allowed = TOLERANCES[precision]
    nearest = min(found.cosine, found.cosine_states)
    near = nearest >= allowed.cosine and found.agreement >= allowed.agreement and found.difference <= allowed.difference
    if not near:
        raise NdogoError(
            f"The {precision} file does not answer as the model does: cosine {nearest:.4f} (at least {allowed.cosine} is "
            f"allowed), {found.agreement:.1%} of {found.answers:,} predictions agree (at least {allowed.agreement:.1%}), "
            f"largest difference {found.difference:.1e} (at most {allowed.difference:.0e}).",
            where=where,
            cure="Use another precision, or train the model further: weights near chance do not survive rounding.",
        )


def limit_of(source: Exportable, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest input in tokens: the tokenizer's limit, or the position table less the rows that RoBERTa skips."""
    config = source.model.config
    table = getattr(getattr(source.model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    positions = config.max_position_embeddings - (0 if padding is None else padding + 1)
    return int(min(tokenizer.model_max_length, positions))


@torch.inference_mode()
def _by_torch(source: Exportable, row: list[int]) -> Answer:
    ids_BL = torch.tensor([row])
    found = dict(zip(source.outputs, source.module(ids_BL, torch.ones_like(ids_BL)), strict=True))
    return _cut(source, found[ANSWERS[source.head]][0].numpy(), found[HIDDEN][0].numpy(), len(row))


def _by_file(session: onnxruntime.InferenceSession, source: Exportable, rows: list[list[int]]) -> Iterator[Answer]:
    longest = max(map(len, rows))
    ids_BL = np.full((len(rows), longest), source.model.config.pad_token_id or 0, dtype=np.int64)
    mask_BL = np.zeros_like(ids_BL)
    for number, row in enumerate(rows):
        ids_BL[number, : len(row)] = row
        mask_BL[number, : len(row)] = 1
    answers, states = session.run([ANSWERS[source.head], HIDDEN], {"input_ids": ids_BL, "attention_mask": mask_BL})
    for number, row in enumerate(rows):
        yield _cut(source, answers[number], states[number], len(row))


def _cut(source: Exportable, answer: np.ndarray, states_LH: np.ndarray, length: int) -> Answer:
    per_token = source.head not in ("vectors", "classes")
    return answer[:length] if per_token else answer[None], states_LH[:length]


def _measured(source: Exportable, expected: list[Answer], found: list[Answer]) -> Parity:
    right_NK, given_NK = (np.concatenate([answers for answers, _ in rows]) for rows in (expected, found))
    right_LH, given_LH = (np.concatenate([states for _, states in rows]) for rows in (expected, found))
    similar = source.head in ("none", "vectors")
    best, chosen = (_nearest(rows) if similar else rows.argmax(-1) for rows in (right_NK, given_NK))
    differs = np.flatnonzero(best != chosen)
    ties = 1.0
    if len(differs):
        values = _similarities(right_NK)[differs] if similar else right_NK[differs]
        rows = np.arange(len(differs))
        gap = values[rows, best[differs]] - values[rows, chosen[differs]]
        ties = float((gap <= TIE * np.maximum(1.0, np.abs(values).max(-1))).mean())
    return Parity(
        lines=len(expected),
        answers=len(right_NK),
        cosine=_cosine(right_NK, given_NK),
        cosine_states=_cosine(right_LH, given_LH),
        difference=float(np.abs(right_NK - given_NK).max() / np.abs(right_NK).max()),
        agreement=float((best == chosen).mean()),
        ties=ties,
    )


def _similarities(rows_NK: np.ndarray) -> np.ndarray:
    unit = rows_NK / np.maximum(np.linalg.norm(rows_NK, axis=-1, keepdims=True), 1e-12)
    similar: np.ndarray = unit @ unit.T
    np.fill_diagonal(similar, -2.0)
    return np.asarray(similar)


def _nearest(rows_NK: np.ndarray) -> np.ndarray:
    return np.asarray(_similarities(rows_NK).argmax(-1))


def _cosine(right: np.ndarray, given: np.ndarray) -> float:
    lengths = np.linalg.norm(right, axis=-1) * np.linalg.norm(given, axis=-1)
    return float(((right * given).sum(-1) / np.maximum(lengths, 1e-12)).mean())


def _lower(a: Parity, b: Parity) -> Parity:
    lower = min(a.agreement, b.agreement), min(a.cosine, b.cosine), min(a.cosine_states, b.cosine_states)
    return Parity(
        lines=a.lines,
        answers=a.answers,
        agreement=lower[0],
        cosine=lower[1],
        cosine_states=lower[2],
        difference=max(a.difference, b.difference),
        ties=min(a.ties, b.ties),
    )
