"""Calibration: samples, batches and masks are functions of text and seed."""

import pytest
import torch

from ndogo.compressors.calibration import BATCH_TOKENS, masked_scores, read_batches, sample_lines, to_batches
from ndogo.core.errors import NdogoError
from ndogo.core.masking import IGNORED
from ndogo.core.models import load_model, load_tokenizer
from tests.compressors.cases import lines


def numbered(count):
    return lambda: (f"mstari {number}" for number in range(count))


def test_a_sample_is_even_sorted_and_seeded():
    drawn = sample_lines(numbered(5000), 100)
    places = [int(line.split()[1]) for line in drawn]
    assert len(drawn) == 100 and places == sorted(places) and places[50] > 1000
    assert drawn == sample_lines(numbered(5000), 100) != sample_lines(numbered(5000), 100, seed=1)
    assert sample_lines(numbered(7), 100) == list(numbered(7)())


def test_batches_hold_every_line_once_and_are_bounded(any_pico):
    tokenizer = load_tokenizer(any_pico)
    text = list(lines()) * 20
    batches = to_batches(text, tokenizer, masked=False)
    assert all(batch.ids.numel() <= BATCH_TOKENS for batch in batches) and len(batches) > 1
    found = sorted(
        tuple(ids[real].tolist()) for batch in batches for ids, real in zip(batch.ids, batch.real, strict=True)
    )
    assert found == sorted(tuple(tokenizer(line)["input_ids"]) for line in text)
    assert all((batch.labels == IGNORED).all() for batch in batches)


def test_a_lines_mask_does_not_depend_on_its_company(any_pico):
    tokenizer = load_tokenizer(any_pico)
    text = list(dict.fromkeys(lines()))

    def masks(given):
        batches = to_batches(given, tokenizer, masked=True)
        rows = [
            (ids[real], labels[real])
            for b in batches
            for ids, real, labels in zip(b.ids, b.real, b.labels, strict=True)
        ]
        return {tuple(torch.where(labels == IGNORED, ids, labels).tolist()): ids.tolist() for ids, labels in rows}

    few, many = masks(text[:4]), masks(text)
    assert all(many[original] == seen for original, seen in few.items())
    assert all(
        any(label != IGNORED for label in row) for b in to_batches(text, tokenizer, masked=True) for row in b.labels
    )


def test_scores_are_those_of_the_whole_logits(any_pico):
    model, batches = load_model(any_pico), read_batches(lines, load_tokenizer(any_pico), 9, masked=True)
    loss, right, asked = 0.0, 0, 0
    with torch.no_grad():
        for batch in batches:
            logits = model(input_ids=batch.ids, attention_mask=batch.real.long()).logits
            wanted = batch.labels != IGNORED
            loss += float(torch.nn.functional.cross_entropy(logits[wanted], batch.labels[wanted], reduction="sum"))
            right += int((logits[wanted].argmax(-1) == batch.labels[wanted]).sum())
            asked += int(wanted.sum())
    assert masked_scores(model, batches) == pytest.approx((loss / asked, right / asked), rel=1e-5)


def test_no_text_is_refused():
    with pytest.raises(NdogoError, match="empty"):
        sample_lines(lambda: iter([]), 10)
