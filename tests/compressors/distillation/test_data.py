"""The corpus on disk, the batches of a step, the maps of layers."""

import numpy as np
import pytest

from ndogo.compressors.distillation import corpus as corpora
from ndogo.compressors.distillation.batches import Schedule, read_batch
from ndogo.compressors.distillation.corpus import Tokenized, is_whole, open_tokenized, tokenize
from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.compressors.distillation.train import planned_steps
from ndogo.core.errors import NdogoError
from ndogo.core.masking import IGNORED, masking_of
from ndogo.core.models import load_tokenizer
from ndogo.core.progress import silent
from tests.pico import TEXT


@pytest.fixture
def tokenizer(pico_model):
    return load_tokenizer(pico_model("xlmr"))


@pytest.fixture
def text(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "BLOCK", 7)
    return tokenize(lambda: iter(TEXT), tokenizer, 48, tmp_path / "text.arrow", silent)


def test_sequences_come_back_from_disk_as_they_were_tokenised(text, tokenizer, tmp_path, monkeypatch):
    wanted = [tokenizer(line, truncation=True, max_length=48)["input_ids"] for line in TEXT]
    found = [text.sequence(row).tolist() for row in range(len(text))]
    assert [ids for ids in found if ids in wanted] == wanted
    assert sum(map(len, found)) == int(text.lengths.sum())
    again = tokenize(lambda: pytest.fail("read again"), tokenizer, 48, tmp_path / "text.arrow", silent)
    assert [again.sequence(row).tolist() for row in range(len(again))] == found


def test_a_long_line_becomes_several_sequences_with_nothing_lost(tokenizer, tmp_path):
    line = " ".join(TEXT[:5])
    cut = tokenize(lambda: iter([line]), tokenizer, 16, tmp_path / "long.arrow", silent)
    assert len(cut) > 3 and cut.lengths.max() == 16
    inner = [token for row in range(len(cut)) for token in cut.sequence(row)[1:-1].tolist()]
    assert inner == tokenizer(line, add_special_tokens=False)["input_ids"]


def test_a_corpus_without_tokens_is_refused(tokenizer, tmp_path):
    with pytest.raises(NdogoError, match="no line with a token"):
        tokenize(lambda: iter([""]), tokenizer, 16, tmp_path / "empty.arrow", silent)
    assert not list(tmp_path.glob("empty*"))


@pytest.mark.parametrize("damage", ["flipped", "cut off", "no hash"])
def test_a_damaged_file_is_made_again(tokenizer, tmp_path, caplog, damage: str):
    file = tmp_path / "text.arrow"
    tokenize(lambda: iter(TEXT), tokenizer, 16, file, silent)
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    file.write_bytes({"flipped": bytes(flipped), "cut off": good[:-40], "no hash": good}[damage])
    if damage == "no hash":
        file.with_name("text.arrow.sha256").write_bytes(b"\xff")
    again = tokenize(lambda: iter(TEXT), tokenizer, 16, file, silent)
    assert file.read_bytes() == good and len(again) and "made again" in caplog.text


def test_what_lies_at_the_place_of_a_file_is_taken_away(tokenizer, tmp_path):
    file = tmp_path / "text.arrow"
    (file / "inside").mkdir(parents=True)
    file.with_name("text.arrow.sha256").symlink_to("/nowhere/at/all")
    (tmp_path / "text.arrow.partial").mkdir()
    assert len(tokenize(lambda: iter(["mtoto"]), tokenizer, 8, file, silent)) == 1
    assert is_whole(file)


def test_an_interrupted_tokenisation_leaves_no_file(tokenizer, tmp_path):
    def broken():
        yield TEXT[0]
        raise NdogoError("line 2 is not UTF-8")

    with pytest.raises(NdogoError, match="UTF-8"):
        tokenize(broken, tokenizer, 16, tmp_path / "broken.arrow", silent)
    assert not (tmp_path / "broken.arrow").exists()
    assert len(tokenize(lambda: iter(TEXT), tokenizer, 16, tmp_path / "broken.arrow", silent)) > len(TEXT)


def test_a_batch_depends_on_seed_and_step_alone():
    lengths = np.random.default_rng(0).integers(3, 90, 1003).astype(np.int32)
    schedule = Schedule(lengths, 4, seed=1)
    forward = [schedule.rows(step).tolist() for step in range(600)]
    backward = [Schedule(lengths, 4, seed=1).rows(step).tolist() for step in reversed(range(600))]
    assert forward == backward[::-1]
    assert forward[:5] != [Schedule(lengths, 4, seed=2).rows(step).tolist() for step in range(5)]
    assert schedule.steps_per_epoch == 250
    for epoch in (0, 1):
        rows = [row for batch in forward[epoch * 250 : (epoch + 1) * 250] for row in batch]
        assert len(rows) == len(set(rows)) == 1000
    assert forward[:250] != forward[250:500]
    spread = [int(np.ptp(lengths[batch])) for batch in forward]
    assert np.mean(spread) < 5  # of 87: little padding
    means = [lengths[batch].mean() for batch in forward[:60]]
    assert abs(np.corrcoef(means, range(60))[0, 1]) < 0.5  # lengths come in no order


def test_processes_share_one_global_batch(text, tokenizer):
    masking = masking_of(tokenizer, 0.3)
    rows = Schedule(text.lengths, 10, seed=0).rows(0)
    batch = read_batch(text, rows, masking, tokenizer.pad_token_id, (0, 1, 0))
    same = read_batch(text, rows, masking, tokenizer.pad_token_id, (0, 1, 0))
    assert (batch.ids == same.ids).all() and (batch.labels == same.labels).all()
    assert (batch.ids != read_batch(text, rows, masking, tokenizer.pad_token_id, (0, 1, 1)).ids).any()
    for processes in (1, 2, 3, 12):
        parts = [part for rank in range(processes) for part in batch.share(rank, processes, 60)]
        assert sum(int(part.real.sum()) for part in parts) == batch.denominators.tokens
        assert sum(int((part.labels != IGNORED).sum()) for part in parts) == batch.denominators.masked
        assert sum(len(part.ids) for part in parts) == 10
        assert all(part.ids.numel() <= 60 or len(part.ids) == 1 for part in parts)


@pytest.mark.parametrize(
    ("given", "steps"),
    [({"steps": 7}, 7), ({"epochs": 2.5}, 25), ({"tokens": 500}, 5), ({"epochs": 100, "cap": 300}, 3)],
)
def test_epochs_and_tokens_become_steps(given, steps):
    text = Tokenized((), np.full(43, 25, np.int32))  # 10 batches of 4 x 25 tokens
    cap = given.pop("cap", None)
    assert planned_steps(TrainingSettings(batch_size=4, **given), text, cap) == steps


def test_a_corpus_smaller_than_a_batch_is_one_batch():
    assert sorted(Schedule(np.array([3, 9, 4], np.int32), 32, 0).rows(5)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("named", "student", "teacher", "pairs"),
    [
        ("last", 3, 12, [(1, 10), (2, 11), (3, 12)]),
        ("last-pair", 3, 12, [(3, 12)]),
        ("uniform", 3, 12, [(1, 4), (2, 8), (3, 12)]),
        ("uniform-first", 3, 12, [(1, 1), (2, 5), (3, 9)]),
        ("uniform-last", 2, 4, [(1, 2), (1, 3), (2, 4)]),
        ("consecutive", 2, 4, [(1, 1), (1, 2), (2, 2), (2, 3), (2, 4)]),
        ("consecutive", 4, 5, [(1, 1), (1, 2), (2, 2), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5)]),
        ("all", 2, 2, [(1, 1), (2, 2)]),
        (((1, 3), (0, 0)), 2, 4, [(1, 3), (0, 0)]),
    ],
)
def test_layer_maps(named, student, teacher, pairs):
    assert list(pairs_of(named, student, teacher)) == pairs


@pytest.mark.parametrize(("named", "student", "teacher"), [("all", 2, 4), ("uniform", 5, 4), (((1, 5),), 2, 4)])
def test_maps_that_do_not_fit_are_refused(named, student, teacher):
    with pytest.raises(NdogoError, match="map") as raised:
        pairs_of(named, student, teacher)
    assert raised.value.where.startswith("objective: map")


def test_open_tokenized_maps_what_was_written(text, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "BLOCK", 7)
    assert len(open_tokenized(tmp_path / "text.arrow")) == len(text)
