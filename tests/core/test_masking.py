"""Masking: BERT's shares, specials and padding untouched, a pure function of its key."""

import numpy as np
import pytest

from ndogo.core.errors import NdogoError
from ndogo.core.masking import IGNORED, Masking, mask, masking_of
from ndogo.core.models import load_tokenizer

MASKING = Masking(mask_id=4, special=(0, 1, 2, 3, 4), rows=1000)


def batch():
    random = np.random.default_rng(1)
    ids = random.integers(5, 1000, (400, 100))
    ids[:, 0], ids[:, 50] = 2, 3
    real = np.arange(100) < random.integers(51, 101, 400)[:, None]
    return np.where(real, ids, 0), real


def test_shares_are_berts():
    ids, real = batch()
    inputs, labels = mask(ids, real, MASKING, (0, 7))
    chosen = labels != IGNORED
    possible = real & (ids > 4)
    assert not (chosen & ~possible).any()
    assert chosen.sum() / possible.sum() == pytest.approx(0.15, abs=0.01)
    assert (labels[chosen] == ids[chosen]).all() and (inputs[~chosen] == ids[~chosen]).all()
    masked = (inputs == 4) & chosen
    kept = (inputs == ids) & chosen
    assert masked.sum() / chosen.sum() == pytest.approx(0.8, abs=0.02)
    assert kept.sum() / chosen.sum() == pytest.approx(0.1, abs=0.02)
    swapped = inputs[chosen & ~masked & ~kept]
    assert swapped.min() >= 5 and swapped.max() > 900


def test_the_key_decides_and_the_input_stays():
    ids, real = batch()
    before = ids.copy()
    one, two, other = (mask(ids, real, MASKING, key) for key in ((3, 9), (3, 9), (3, 10)))
    assert (ids == before).all()
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert (one[1] != other[1]).any()


def test_at_least_one_token_is_chosen_and_none_at_probability_zero():
    ids, real = np.array([[2, 77, 3]]), np.ones((1, 3), bool)
    rare = Masking(4, (0, 1, 2, 3, 4), 1000, probability=1e-9)
    assert mask(ids, real, rare, (0,))[1].tolist() == [[IGNORED, 77, IGNORED]]
    never = Masking(4, (0, 1, 2, 3, 4), 1000, probability=0)
    assert (mask(ids, real, never, (0,))[0] == ids).all() and (mask(ids, real, never, (0,))[1] == IGNORED).all()


def test_a_tokenizer_tells_its_masking(pico_model):
    tokenizer = load_tokenizer(pico_model("bert"))
    found = masking_of(tokenizer, 0.3)
    assert (found.mask_id, found.probability) == (tokenizer.mask_token_id, 0.3)
    assert found.special == tuple(sorted(tokenizer.all_special_ids)) and found.rows == len(tokenizer)
    tokenizer.mask_token = None
    with pytest.raises(NdogoError, match="no mask token"):
        masking_of(tokenizer)
