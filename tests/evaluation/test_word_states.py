"""States of words: a finer split, a rotation or a scale is no loss; another model is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ndogo.core.models import copy_tokenizer, load_model, save
from ndogo.evaluation.word_states import WordStates, word_states
from tests import tiny

FITTED, JUDGED = tiny.lines(300)[:260], tiny.lines(300)[260:]


def changed(source: Path, out: Path, change) -> Path:
    model = load_model(source)
    with torch.no_grad():
        change(model)
    save(model, out)
    copy_tokenizer(source, out)
    return out


@pytest.fixture(scope="module")
def judge(pico_model) -> WordStates:
    return WordStates(pico_model("bert"), FITTED, JUDGED, 1)


def test_every_word_has_one_row_in_the_order_of_the_text(pico_model):
    states = word_states(pico_model("bert"), ["kitabu kizuri", "mtoto"])
    alone = word_states(pico_model("bert"), ["mtoto"])
    assert states.shape == (3, alone.shape[1])
    assert np.allclose(states[2], alone[0], atol=1e-5) and not np.allclose(states[0], states[1], atol=1e-2)


def test_the_teacher_itself_loses_nothing_and_a_linear_map_of_it_no_more(judge, pico_model, tmp_path: Path):
    def turned(model) -> None:
        last = model.base_model.encoder.layer[-1].output.LayerNorm
        last.weight.mul_(3.0)
        last.bias.add_(0.5)

    assert judge.lost(pico_model("bert")) < 1e-3
    assert judge.lost(changed(pico_model("bert"), tmp_path / "turned", turned)) < 1e-3


def test_another_model_loses_more(judge, pico_model, tmp_path: Path):
    def broken(model) -> None:
        torch.manual_seed(1)
        words = model.get_input_embeddings().weight
        words.copy_(words[torch.randperm(len(words))] * 0.1)

    assert judge.lost(changed(pico_model("bert"), tmp_path / "broken", broken)) > 0.05
