"""Masking for masked-language modelling: a pure function of the tokens and a key, on any machine and in any process."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from transformers import PreTrainedTokenizerBase

from ndogo.core.errors import NdogoError

IGNORED = -100
"""The label of a position that is not predicted; torch's cross-entropy skips it by default."""


@dataclass(frozen=True)
class Masking:
    """What masking needs to know of a tokenizer, and how much it masks."""

    mask_id: int
    special: tuple[int, ...]
    """Ids that are never masked and never put in at random."""
    rows: int
    """Ids lie below this."""
    probability: float = 0.15
    ordinary: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ordinary", np.setdiff1d(np.arange(self.rows), np.array(self.special, dtype=np.int64)))


def masking_of(tokenizer: PreTrainedTokenizerBase, probability: float = 0.15) -> Masking:
    """The masking of a tokenizer: its mask token, its specials, its size.

    :raises NdogoError: the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise NdogoError(
            "The tokenizer has no mask token, so nothing can be masked.",
            where=str(tokenizer.name_or_path),
            cure="Use a masked-language model's tokenizer, or `mask_probability: 0` and objectives that need no masks.",
        )
    return Masking(tokenizer.mask_token_id, tuple(sorted(tokenizer.all_special_ids)), len(tokenizer), probability)


def mask(
    ids_BL: np.ndarray, real_BL: np.ndarray, masking: Masking, key: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """BERT's rule: of the chosen tokens 80% become the mask, 10% another ordinary token, 10% stay.

    `real_BL` is false at padding. At least one token is chosen where the batch has an ordinary token and the probability
    is not 0, so that a loss never divides by nothing. The same key gives the same masks. The inputs are left untouched.

    :returns: the ids to read and the labels to predict (`IGNORED` elsewhere), both of the input's shape.
    """
    inputs, labels = ids_BL.copy(), np.full_like(ids_BL, IGNORED)
    if masking.probability == 0:
        return inputs, labels
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([abs(int(part)) for part in key])))
    draw, kind = random.random(ids_BL.shape), random.random(ids_BL.shape)
    others = masking.ordinary[random.integers(0, len(masking.ordinary), ids_BL.shape)]
    possible = real_BL & ~np.isin(ids_BL, masking.special)
    chosen = possible & (draw < masking.probability)
    if not chosen.any() and possible.any():
        chosen.flat[np.argmin(np.where(possible, draw, 2.0))] = True
    labels[chosen] = ids_BL[chosen]
    inputs[chosen & (kind < 0.8)] = masking.mask_id
    swapped = chosen & (kind >= 0.9)
    inputs[swapped] = others[swapped]
    return inputs, labels
