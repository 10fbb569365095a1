"""The certificate notices what it must notice."""

import json

import pytest
import torch

from ndogo.compressors.vocabulary import trim_model, trimming
from ndogo.compressors.vocabulary.closure import needs_of
from ndogo.compressors.vocabulary.counting import encode
from ndogo.compressors.vocabulary.files import trimmed_document
from ndogo.compressors.vocabulary.source import read_vocabulary
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model
from tests import pico

SWAHILI = pico.TEXT[:4] * 9


def spoil(monkeypatch, change):
    def spoilt(model, kept):
        found = trim_model(model, kept)
        with torch.no_grad():
            change(found)
        return found

    monkeypatch.setattr(trimming, "trim_model", spoilt)


def swap_rows(matrix):
    matrix[[7, 8]] = matrix[[8, 7]]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: swap_rows(model.get_input_embeddings().weight),
        lambda model: swap_rows(model.lm_head.bias),
        lambda model: model.roberta.encoder.layer[1].output.dense.weight[0, 0].add_(1e-3),
    ],
    ids=["embedding", "bias", "layer"],
)
def test_one_wrong_number_makes_it_fail(model_of, trimmed, monkeypatch, change):
    spoil(monkeypatch, change)
    with pytest.raises(NdogoError, match="a kept row or another tensor differs"):
        trimmed(model_of("xlmr"), text=SWAHILI, size=10_000)


def test_a_wrong_bias_shows_in_the_logits(model_of, trimmed, monkeypatch):
    monkeypatch.setattr("ndogo.compressors.vocabulary.certificate.equal_rows", lambda *_: True)
    spoil(monkeypatch, lambda model: swap_rows(model.lm_head.bias))
    with pytest.raises(NdogoError, match="kept columns of the logits differ by"):
        trimmed(model_of("xlmr"), text=SWAHILI, size=10_000)


def test_a_wrong_tokenizer_makes_it_fail(model_of, trimmed, monkeypatch):
    def lossy(vocabulary, new_id):
        document = trimmed_document(vocabulary, new_id)
        entries = document["model"]["vocab"]
        entries[60], entries[61] = entries[61], entries[60]
        return document

    monkeypatch.setattr("ndogo.compressors.vocabulary.files.trimmed_document", lossy)
    with pytest.raises(NdogoError, match=r"tokenizer\.json disagree"):
        trimmed(model_of("xlmr"), text=SWAHILI, size=10_000)


def test_files_that_disagreed_before_are_told_of_and_only_a_new_disagreement_fails(model_of, trimmed, monkeypatch):
    monkeypatch.setattr("ndogo.compressors.vocabulary.certificate._twins_equal", lambda *_: 0.5)
    out, numbers = trimmed(model_of("xlmr"), text=SWAHILI, size=10_000)
    assert numbers["other_files_equal"] == numbers["other_files_equal_before"] == 0.5
    assert "50.0000% of the held-out lines (before: 50.0000%)" in (out / "certificate.md").read_text()
    shares = iter([0.5, 0.75])
    monkeypatch.setattr("ndogo.compressors.vocabulary.certificate._twins_equal", lambda *_: next(shares))
    with pytest.raises(NdogoError, match="disagree, and did not before"):
        trimmed(model_of("xlmr"), text=SWAHILI, name="worse", size=10_000)


def test_files_that_never_agreed_are_no_fault_of_the_trimming(model_of, trimmed, monkeypatch):
    monkeypatch.setattr("ndogo.compressors.vocabulary.certificate._twins_equal", lambda *_: 0.0)
    _, numbers = trimmed(model_of("xlmr"), text=SWAHILI, size=10_000)
    assert numbers["other_files_equal"] == numbers["other_files_equal_before"] == 0.0
    shares = iter((0.4, 0.5))
    monkeypatch.setattr("ndogo.compressors.vocabulary.certificate._twins_equal", lambda *_: next(shares))
    with pytest.raises(NdogoError, match="own files disagree with one another"):
        trimmed(model_of("xlmr"), text=SWAHILI, name="worse", size=10_000)


def test_json_and_page_say_the_same(model_of, trimmed):
    out, numbers = trimmed(model_of("xlmr"), text=SWAHILI, size=10_000)
    found, page = json.loads((out / "certificate.json").read_text()), (out / "certificate.md").read_text()
    assert found["valid"] and found["held_out"]["covered"] == numbers["held_out.covered"] > 0
    assert f"| pieces | {found['pieces_before']:,} | {found['pieces_after']:,} |" in page
    assert "| of these, split exactly as before | 100.0000% |" in page and "equal, bit for bit" in page
    assert found["held_out"]["fertility_before"] == pytest.approx(found["held_out"]["fertility_after"])
    assert numbers["params_before"] > numbers["params"] and numbers["valid"] is True


def test_fertility_coverage_and_unknowns_are_counted_on_the_held_out_lines(model_of, trimmed):
    out, _ = trimmed(model_of("xlmr"), coverage=0.8)
    held_out = json.loads((out / "certificate.json").read_text())["held_out"]
    source = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    kept = set(json.loads((out / "old_to_new.json").read_text())["new_to_old"])
    line = pico.TEXT[0]  # of 36 lines, only the first is held out
    ids = encode(source.backend, [line])[0]
    assert held_out["lines"] == 1 and held_out["coverage"] == sum(i in kept for i in ids) / len(ids)
    assert held_out["fertility_before"] == len(ids) / len(line.split())
    assert held_out["fertility_after"] > held_out["fertility_before"] and held_out["identical"] == 0


def test_the_lowest_unigram_score_must_stay_or_the_unknown_edge_rises(tmp_path):
    from tokenizers import Tokenizer, models

    entries = [("<unk>", 0.0), ("p", -20.0), ("qr", -20.0), ("pq", -1.0), ("q", -15.0), ("zzz", -60.0)]

    def ids(kept):
        return [entries.index(kept[i]) for i in Tokenizer(models.Unigram(kept, 0, False)).encode("pqr").ids]

    assert ids(entries) == [1, 2]
    assert ids(entries[:5]) != [1, 2], "without the lowest token the unknown edge wins"
    assert ids([entries[0], entries[1], entries[2], entries[3], entries[5]]) == [1, 2]


def test_the_lowest_score_is_always_kept(model_of, trimmed):
    source = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    lowest = min(source.model["vocab"], key=lambda entry: entry[1])[0]
    out, _ = trimmed(model_of("xlmr"), text=["a"], coverage=0.1)
    vocab = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]
    assert lowest in [token for token, _ in vocab] and needs_of(source)(5) == {5}


def test_trim_model_leaves_its_input_untouched_and_shares_nothing(any_pico):
    model = load_model(any_pico)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = model.config.to_dict()
    kept = list(range(0, 6)) + list(range(10, 90, 2))
    found = trim_model(model, kept)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(1)
    assert (
        all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
        and model.config.to_dict() == config
    )
    assert found.get_input_embeddings().num_embeddings == len(kept) == found.config.vocab_size
    assert found.get_output_embeddings().out_features == len(kept)


def test_a_padding_id_that_positions_hang_on_may_not_move(model_of):
    with pytest.raises(NdogoError, match="padding id would move from 1 to 0"):
        trim_model(load_model(model_of("xlmr")), [1, 2, 3, 50])
