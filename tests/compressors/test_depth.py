"""Depth: which layers stay, and that what stays is what it was."""

import json

import pytest
import torch

from ndogo.compressors.calibration import final_states, masked_loss, read_batches
from ndogo.compressors.depth import changes, keep_layers, kept_layers, losses_without
from ndogo.core.architectures import layers_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer, parameters
from ndogo.core.progress import silent
from ndogo.steps.kinds.truncate import Truncate
from tests.compressors.cases import KINDS, answer, fingerprint, lines, made, model_of, unchanged


@pytest.mark.parametrize(
    ("keep", "of12", "of24to6", "of5to3"),
    [
        ("first", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [0, 1, 2]),
        ("last", [6, 7, 8, 9, 10, 11], [18, 19, 20, 21, 22, 23], [2, 3, 4]),
        ("stride", [0, 2, 4, 6, 8, 10], [0, 4, 8, 12, 16, 20], [0, 1, 3]),
        ("stride-last", [1, 3, 5, 7, 9, 11], [3, 7, 11, 15, 19, 23], [0, 2, 4]),
        ("first-last", [0, 1, 2, 9, 10, 11], [0, 1, 2, 21, 22, 23], [0, 1, 4]),
    ],
)
def test_rules_keep_the_papers_layers(keep, of12, of24to6, of5to3):
    assert kept_layers(12, 6, keep) == of12
    assert kept_layers(24, 6, keep) == of24to6
    assert kept_layers(5, 3, keep) == of5to3
    assert kept_layers(12, 12, keep) == list(range(12))


def test_importance_keeps_the_layers_that_matter_in_their_order():
    assert kept_layers(4, 2, "importance", torch.tensor([0.1, 3.0, 2.0, 0.5])) == [1, 2]
    assert kept_layers(4, 2, "importance", torch.tensor([0.1, 3.0, 2.0, 0.5]), fixed=True) == [0, 1]
    assert kept_layers(4, 2, "importance", torch.ones(4)) == [0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_keeping_all_layers_is_the_teacher(any_pico, kind):
    model = model_of(any_pico, kind, layers=4)
    before = fingerprint(model)
    student = keep_layers(model, range(4))
    assert torch.equal(answer(student), answer(model))
    assert unchanged(model, before)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert unchanged(model, before), "student and teacher share memory"


def test_a_layer_dropped_is_a_layer_skipped(any_pico):
    model = model_of(any_pico, "lm", layers=4)
    student = keep_layers(model, [0, 1, 3])
    hook = layers_of(model)[2].register_forward_hook(lambda _m, inputs, _out: inputs[0])
    expected = answer(model)
    hook.remove()
    assert torch.allclose(answer(student), expected, atol=1e-6)
    assert not torch.allclose(expected, answer(model), atol=1e-3)


def test_the_first_layer_of_modernbert_stays_and_types_follow(pico_model):
    model = model_of(pico_model("modernbert"), "lm", layers=6)
    for keep in ("last", "stride-last", "first-last"):
        assert kept_layers(6, 2, keep, fixed=True)[0] == 0
    student = keep_layers(model, [0, 2, 3])
    assert student.config.layer_types == ["full_attention", "sliding_attention", "full_attention"]
    with pytest.raises(NdogoError, match="parts of the others"):
        keep_layers(model, [1, 2])


@pytest.mark.parametrize("kept", [[], [1, 0], [0, 4], [-1, 0], [1, 1]])
def test_impossible_layers_are_refused(pico_model, kept):
    with pytest.raises(NdogoError, match="cannot be kept"):
        keep_layers(model_of(pico_model("bert"), "lm", layers=4), kept)


def test_a_layer_that_changes_nothing_scores_lowest(any_pico):
    model = model_of(any_pico, "lm", layers=4)
    tokenizer = load_tokenizer(any_pico)
    plain = read_batches(lines, tokenizer, 8, masked=False)
    hook = layers_of(model)[2].register_forward_hook(lambda _m, inputs, _out: inputs[0])
    scores = changes(model, plain, silent)
    hook.remove()
    assert scores.argmin() == 2 and abs(float(scores[2])) < 1e-5 and (scores >= -1e-5).all()


def test_the_loss_without_a_layer_is_the_truncated_models(any_pico):
    model = model_of(any_pico, "lm", layers=3)
    batches = read_batches(lines, load_tokenizer(any_pico), 8, masked=True)
    losses = losses_without(model, batches, silent)
    assert losses[1] == pytest.approx(masked_loss(keep_layers(model, [0, 2]), batches), abs=1e-5)


def test_without_a_head_the_loss_is_the_distance_of_the_final_states(any_pico):
    model = model_of(any_pico, "bare", layers=3)
    batches = read_batches(lines, load_tokenizer(any_pico), 8, masked=False)
    found = losses_without(model, batches, silent)
    whole = torch.cat([final_states(model, batch) for batch in batches])
    cut = torch.cat([final_states(keep_layers(model, [0, 2]), batch) for batch in batches])
    assert float(found[1]) == pytest.approx(((cut - whole).square().sum() / whole.square().sum()).item(), rel=1e-4)
    assert (found > 1e-3).all()


@pytest.mark.parametrize("keep", ["stride", "importance"])
def test_truncate_writes_a_whole_directory(any_pico, tmp_path, keep):
    numbers = made(Truncate(layers="1/2", keep=keep), any_pico, tmp_path, lines, silent)
    student = load_model(tmp_path)
    assert len(layers_of(student)) == numbers["layers"] == numbers["layers_before"] // 2
    assert parameters(student) == numbers["params"] < numbers["params_before"]
    assert student.get_input_embeddings().weight.data_ptr() == student.get_output_embeddings().weight.data_ptr()
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer("Kitabu kizuri")["input_ids"] == load_tokenizer(any_pico)("Kitabu kizuri")["input_ids"]
    note = json.loads((tmp_path / "layers.json").read_text())
    assert note["kept"] == sorted(note["kept"]) and (note["scores"] is None) == (keep == "stride")


def test_importance_needs_text(pico_model, tmp_path):
    with pytest.raises(NdogoError, match="judged on text"):
        made(Truncate(layers=1, keep="importance"), pico_model("bert"), tmp_path, None, silent)
