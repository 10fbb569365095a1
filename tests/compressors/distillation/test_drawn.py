"""Text drawn once: prompts, windows at any place; batches of one length."""

import numpy as np
import pytest
from pydantic import ValidationError

from ndogo.compressors.distillation.batches import OneLength, Schedule, read_batch, schedule_of
from ndogo.compressors.distillation.corpus import tokenize
from ndogo.compressors.distillation.drawn import draw, drawn_name
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.core.masking import Masking
from ndogo.core.models import load_tokenizer
from ndogo.core.progress import silent
from tests.pico import TEXT


def lines():
    return iter(f"{line} {n}" for n, line in enumerate(TEXT * 4))


@pytest.mark.parametrize("family", ["xlmr", "bert", "roberta"])
def test_half_of_the_rows_are_lines_half_of_them_prompted_and_as_many_tokens_are_windows(family, pico_model, tmp_path):
    tokenizer = load_tokenizer(pico_model(family))
    plain = tokenize(lines, tokenizer, 62, tmp_path / "plain.arrow", silent)
    asked = (9, 17), 62, {"query": "mtoto: "}
    text = draw(plain, lines, tokenizer, asked, tmp_path / "drawn.arrow", silent)
    rows = [text.sequence(row).tolist() for row in range(len(text))]
    ends, count = (rows[0][0], rows[0][-1]), len(plain)
    assert all((row[0], row[-1]) == ends and not set(row[1:-1]) & set(ends) for row in rows)
    whole = [tokenizer(line)["input_ids"] for line in lines()]
    prompted = [tokenizer(f"mtoto: {line}")["input_ids"] for line in lines()]
    shown, windows = rows[:count], rows[count:]
    assert all(row in (a, b) for row, a, b in zip(shown, whole, prompted, strict=True))
    assert 0.3 * count < sum(row == b for row, b in zip(shown, prompted, strict=True)) < 0.7 * count
    assert {len(row) for row in windows} == set(range(9, 18))
    kept = sum(len(row) - 2 for row in windows)
    assert 0 <= int(plain.lengths.sum()) - 2 * count - kept < 17
    joined = [token for row in windows for token in row[1:-1]]
    order = np.random.Generator(np.random.PCG64(0)).permutation(count)
    assert joined == [token for row in order for token in plain.sequence(int(row))[1:-1].tolist()][:kept]
    again = draw(plain, lambda: pytest.fail("read again"), tokenizer, asked, tmp_path / "drawn.arrow", silent)
    assert len(again) == len(text)


def test_without_prompts_the_lines_stay_as_they_are(pico_model, tmp_path):
    tokenizer = load_tokenizer(pico_model("xlmr"))
    plain = tokenize(lines, tokenizer, 62, tmp_path / "plain.arrow", silent)
    text = draw(plain, lines, tokenizer, ((9, 9), 62, {}), tmp_path / "drawn.arrow", silent)
    assert all((text.sequence(row) == plain.sequence(row)).all() for row in range(len(plain)))
    assert {int(length) for length in text.lengths[len(plain) :]} == {9}
    assert drawn_name((9, 9), {}) != drawn_name((9, 9), {"query": "q: "})


@pytest.mark.parametrize("given", [{"batch_tokens": 300}, {"batch_size": 7, "windows": (24, 96)}])
def test_a_batch_has_one_length_and_an_epoch_every_row_once(given):
    lengths = np.random.default_rng(0).integers(3, 90, 3000).astype(np.int32)
    settings = TrainingSettings(steps=1, **given)
    schedule = schedule_of(lengths, settings, 4)
    assert isinstance(schedule, OneLength)
    epochs = [
        [schedule.rows(e * schedule.steps_per_epoch + n) for n in range(schedule.steps_per_epoch)] for e in (0, 1, 2)
    ]
    for epoch in epochs:
        assert sorted(int(row) for batch in epoch for row in batch) == list(range(3000))
        tokens = [lengths[batch].max() * len(batch) for batch in epoch]
        assert settings.batch_tokens is None or max(tokens) <= 300
        assert np.mean([np.ptp(lengths[batch]) == 0 for batch in epoch]) > 0.8
        padded = sum(tokens) / lengths.sum() - 1
        assert padded < 0.02
    assert [b.tolist() for b in epochs[0]] != [b.tolist() for b in epochs[1]]
    fresh = schedule_of(lengths, settings, 4)
    assert fresh.rows(2 * schedule.steps_per_epoch + 5).tolist() == epochs[2][5].tolist()
    assert schedule.tokens_per_step == pytest.approx(lengths.sum() / schedule.steps_per_epoch)
    assert isinstance(schedule_of(lengths, TrainingSettings(steps=1), 4), Schedule)


def test_a_batch_of_one_length_is_exactly_so_wide(pico_model, tmp_path):
    text = tokenize(lines, load_tokenizer(pico_model("xlmr")), 62, tmp_path / "plain.arrow", silent)
    length = int(np.bincount(text.lengths).argmax())
    rows = np.flatnonzero(text.lengths == length)
    batch = read_batch(text, rows, Masking(0, (), 9, 0.0), 1, (0,), exact=True)
    assert batch.ids.shape == (len(rows), length) and batch.real.all()
    assert [part.ids.shape[1] for part in batch.share(0, 1, 100)] == [length] * -(-len(rows) // (100 // length))


def test_windows_that_do_not_fit_are_refused():
    for windows in ((4, 20), (30, 20), (24, 129)):
        with pytest.raises(ValidationError, match="windows go from 8 tokens to max_length, 128"):
            TrainingSettings(steps=1, windows=windows)
    assert not {"windows", "batch_tokens"} & set(TrainingSettings(steps=1).model_dump())
