"""Calibration: a sample of real text as batches of bounded size, masked as a pure function of a seed.

Shapes: V vocabulary, H hidden.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ndogo.core.architectures import lm_logits
from ndogo.core.batches import Batch, pad
from ndogo.core.errors import NdogoError
from ndogo.core.masking import IGNORED, mask, masking_of
from ndogo.core.text import Lines

SEED = 0
READ_LINES = 100_000
"""The sample is drawn from so many lines at most, so that a huge corpus is not read to its end."""
MAX_TOKENS = 128
BATCH_TOKENS = 2048
"""Padded tokens of a batch: bounds the memory of gradients at about 1 GB for a model of base size."""
LOGIT_ROWS = 256
"""Masked positions whose logits are made at once: 250 MB at 250,000 rows of vocabulary."""


def sample_lines(lines: Lines, count: int, seed: int = SEED) -> list[str]:
    """`count` lines drawn evenly from the first `READ_LINES`, in reading order; all of them where there are fewer.

    :raises NdogoError: there is no line.
    """
    chosen: list[tuple[int, str]] = []
    draw = random.Random(seed)
    for number, line in enumerate(lines()):
        if number >= READ_LINES:
            break
        if len(chosen) < count:
            chosen.append((number, line))
        elif (place := draw.randrange(number + 1)) < count:
            chosen[place] = (number, line)
    if not chosen:
        raise NdogoError("The calibration text is empty.", where="calibration")
    return [line for _, line in sorted(chosen)]


def digest_of(lines: Sequence[str]) -> str:
    """sha256 of the sampled lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_batches(
    lines: Lines, tokenizer: PreTrainedTokenizerBase, count: int, *, masked: bool, seed: int = SEED
) -> list[Batch]:
    """A sample of `count` lines as batches: short ones together, at most `BATCH_TOKENS` tokens each.

    With `masked`, each line is masked by a key of the seed and its number, whatever batch it comes into.

    :raises NdogoError: no text, or a tokenizer without a mask token.
    """
    return to_batches(sample_lines(lines, count, seed), tokenizer, masked=masked, seed=seed)


def to_batches(
    lines: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, masked: bool, seed: int = SEED
) -> list[Batch]:
    """These lines as batches; see `read_batches`."""
    limit = min(MAX_TOKENS, tokenizer.model_max_length)
    tokens = tokenizer(list(lines), truncation=True, max_length=limit, add_special_tokens=True)["input_ids"]
    rows = [np.array(row, dtype=np.int64) for row in tokens]
    labels = [np.full_like(row, IGNORED) for row in rows]
    if masked:
        rule = masking_of(tokenizer)
        for number, row in enumerate(rows):
            seen, asked = mask(row[None], np.ones((1, len(row)), dtype=bool), rule, (seed, number))
            rows[number], labels[number] = seen[0], asked[0]
    batches = []
    for group in _groups([len(row) for row in rows]):
        ids, real = pad([rows[number] for number in group], tokenizer.pad_token_id or 0)
        asked, _ = pad([labels[number] for number in group], IGNORED)
        batches.append(Batch(*(torch.from_numpy(part) for part in (ids, real, asked))))
    return batches


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers by length, shortest first, as many together as `BATCH_TOKENS` allows."""
    order = sorted(range(len(lengths)), key=lambda number: (lengths[number], number))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end - start + 1) * lengths[order[end]] <= BATCH_TOKENS:
            end += 1
        yield order[start:end]
        start = end


def final_states(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """The encoder's states at the real tokens of a batch, (N, H)."""
    states: torch.Tensor = model.base_model(input_ids=batch.ids, attention_mask=batch.real.long()).last_hidden_state
    return states[batch.real]


@torch.no_grad()
def masked_loss(model: PreTrainedModel, batches: Sequence[Batch]) -> float:
    """Mean masked-LM loss in nats per masked token."""
    return masked_scores(model, batches)[0]


@torch.no_grad()
def masked_scores(model: PreTrainedModel, batches: Sequence[Batch]) -> tuple[float, float]:
    """Mean masked-LM loss in nats, and the share of masked tokens that the model puts first."""
    loss, right, asked = 0.0, 0, 0
    for batch in batches:
        hidden = model.base_model(input_ids=batch.ids, attention_mask=batch.real.long()).last_hidden_state
        wanted = batch.labels != IGNORED
        for states, labels in zip(
            hidden[wanted].split(LOGIT_ROWS), batch.labels[wanted].split(LOGIT_ROWS), strict=True
        ):
            logits = lm_logits(model, states)
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(-1) == labels).sum())
            asked += len(labels)
    return loss / max(1, asked), right / max(1, asked)
