"""What a GPU is spared: batches made ready ahead of the step, one look at the device in many steps; the result is the same."""

import time
from functools import partial

import pytest
import torch
from transformers import XLMRobertaConfig

from ndogo.compressors.distillation import ahead, guard
from ndogo.compressors.distillation.ahead import Ahead
from ndogo.compressors.distillation.devices import ProcessGroup, exact
from ndogo.compressors.distillation.objectives.mlm import Mlm
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.compressors.distillation.train import prepare
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.compressors.memory import micro_tokens
from ndogo.core.errors import NdogoError
from tests.pico import TEXT

STEPS = 6


@pytest.fixture
def trainer(pico_model, tmp_path):
    """Trainers of one training, each in a folder of its own."""

    def of(name: str) -> Trainer:
        out = tmp_path / name
        out.mkdir()
        run = TrainingRun(partial(iter, TEXT), "f" * 64, tmp_path / f"{name}-work")
        settings = TrainingSettings(steps=STEPS, batch_size=4, max_length=32, learning_rate=3e-3)
        job = prepare(pico_model("xlmr"), None, out, settings, {"mlm": Mlm()}, run)
        return Trainer(job, ProcessGroup(0, 1, torch.device("cpu")), run.report)

    return of


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    monkeypatch.setitem(guard.EVERY, "cpu", 4)
    monkeypatch.setitem(ahead.STEPS, "cpu", 2)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.parameters.values()])


def test_a_training_that_looks_seldom_and_reads_ahead_has_the_same_bits(trainer, request):
    plain = trainer("plain")
    told = plain.train()
    request.getfixturevalue("as_on_a_gpu")
    spared = trainer("spared")
    assert spared.every == 4
    found = spared.train()
    torch.testing.assert_close(weights(spared), weights(plain), rtol=0, atol=0)
    same = ("loss", "loss_mlm", "gradient_norm", "learning_rate", "tokens", "steps")
    assert {key: found[key] for key in same} == {key: told[key] for key in same}


def test_a_bad_step_is_named_when_it_is_seen_and_nothing_was_learnt_since(trainer, as_on_a_gpu):
    bad = trainer("bad")
    bad.learn()
    before = weights(bad).clone()
    read = bad.batch_of
    bad.losses.objectives["mlm"].__dict__["weight"] = float("inf")  # an objective that overflows
    bad.learn()
    bad.learn()
    torch.testing.assert_close(weights(bad), before, rtol=0, atol=0)
    with pytest.raises(NdogoError, match="at step 2") as raised:
        bad.learn()
    assert "(seed 0, step 1)" in raised.value.where
    read.close()


def test_what_a_thread_could_not_read_is_raised_at_its_step():
    def make(step: int) -> int:
        if step == 2:
            raise NdogoError("It cannot be read.")
        time.sleep(0.001)
        return step * step

    coming = Ahead(make, 5, 2)
    assert [coming(0), coming(1)] == [0, 1]
    with pytest.raises(NdogoError, match="cannot be read"):
        coming(2)
    assert [coming(3), coming(4)] == [9, 16], "the last ones have nothing behind them"
    coming.close()
    assert Ahead(make, 5, 0)(3) == 9


def test_micro_batches_go_by_the_size_of_the_card():
    teacher = XLMRobertaConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, vocab_size=40_005)
    student = XLMRobertaConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, vocab_size=40_005)
    assert micro_tokens(None, 26_000_000, student, teacher) == 4096, "the CPU's, whatever the models"
    sizes = [micro_tokens(gigabytes * 10**9, 26_000_000, student, teacher) for gigabytes in (1, 8, 16, 24, 80)]
    assert sizes == [2048, 8192, 32_768, 32_768, 65_536]


def test_the_fastest_kernels_are_a_setting_that_stands_in_the_key():
    common = {"steps": 1}
    assert "deterministic" not in TrainingSettings(**common).model_dump(), "older keys stay"
    assert TrainingSettings(**common, deterministic=False).model_dump()["deterministic"] is False
    with exact(torch.device("cpu"), False):
        assert not torch.are_deterministic_algorithms_enabled()
