"""fp16: gradients are scaled, a lost step is left out, and a training is as good as in fp32."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest
import torch

from ndogo.compressors.distillation import devices, guard, train
from ndogo.compressors.distillation.devices import ProcessGroup, autocast_type
from ndogo.compressors.distillation.guard import Guard
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.core.errors import NdogoError
from tests.compressors.distillation.test_trainer import FOUR, folder, read, settings
from tests.pico import TEXT

CPU = torch.device("cpu")
ALONE = ProcessGroup(0, 1, CPU)


@pytest.fixture
def weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(3))


def stepped(found: Guard, weight: torch.nn.Parameter, gradient: float) -> float:
    """One step with this gradient of the loss; how far the weight went."""
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, gradient) * found.scale
    found.unscale([weight])
    found.step(torch.stack([weight.grad.double().sum(), weight.grad.double().norm()]))
    return float((weight.detach() - before).abs().max())


def test_a_lost_step_is_left_out_and_the_scale_is_halved(weight: torch.nn.Parameter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guard, "GROWTH", 3)
    found = Guard(torch.optim.AdamW([weight], lr=0.1, fused=True), 2, CPU, scaled=True)
    assert stepped(found, weight, 1.0) > 0.05
    assert stepped(found, weight, float("inf")) == 0
    assert found.kept() == [2.0**15, 0.0]
    assert found.look()[:2] == ([3.0, pytest.approx(3**0.5)], False)
    for _ in range(3):
        assert stepped(found, weight, 1.0) > 0.05
    assert found.kept() == [2.0**16, 0.0]
    again = Guard(torch.optim.AdamW([weight], lr=0.1, fused=True), 2, CPU, scaled=True)
    again.restore([64.0, 2.0])
    assert again.kept() == [64.0, 2.0]


def test_what_no_scale_mends_is_said(weight: torch.nn.Parameter):
    found = Guard(torch.optim.AdamW([weight], lr=0.1, fused=True), 2, CPU, scaled=True)
    for _ in range(17):
        assert not found.look()[1]
        stepped(found, weight, float("nan"))
    assert found.look()[1]
    assert stepped(found, weight, 1.0) == 0


def test_a_processor_refuses_and_an_older_card_takes_it(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(NdogoError, match="does not train in fp16"):
        autocast_type("fp16", CPU)
    monkeypatch.setattr(devices, "multiplies_bf16", lambda _: False)
    assert autocast_type("auto", torch.device("cuda")) is torch.float16
    assert autocast_type("auto", CPU) is None


@pytest.fixture
def training(pico_model, tmp_path) -> Callable[[str, str], Trainer]:
    """Make a training in a precision: on a processor fp16 is slow, but it computes in it."""

    def made(precision: Literal["fp32", "fp16"], name: str) -> Trainer:
        held_out, work = partial(iter, TEXT[:9]), tmp_path / name
        run = TrainingRun(partial(iter, TEXT), "f" * 64, work, held_out=held_out, precision="fp32")
        asked = settings(12, dropout=0, learning_rate=1e-3), FOUR | read({"direct": 0.1})
        job = train.prepare(pico_model("xlmr"), pico_model("xlmr"), folder(tmp_path / f"{name}-out"), *asked, run)
        return Trainer(job.model_copy(update={"precision": precision}), ALONE, run.report)

    return made


def gradients(training: Trainer) -> torch.Tensor:
    """Of the first step, after the scale was taken out."""
    batch = training.batch_of(0)
    training._gather(batch, batch.denominators, learning=True)
    training.guard.unscale(training.parameters.values())
    return torch.cat([p.grad.flatten() for p in training.parameters.values() if p.grad is not None])


def test_gradients_are_those_of_fp32(training):
    plain, scaled = gradients(training("fp32", "plain")), gradients(training("fp16", "scaled"))
    assert 0 < float((scaled - plain).norm() / plain.norm()) < 0.025  # 0.008; bf16: 0.05


def test_a_resumed_training_is_the_same_to_the_bit(training):
    whole, first = training("fp16", "whole"), training("fp16", "cut-off")
    whole.train()
    for _ in range(5):
        first.learn()
    first.save()
    second = training("fp16", "cut-off")
    second.train()
    assert second.resumed_at == 5
    assert all(torch.equal(whole.parameters[name], found) for name, found in second.parameters.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_card_learns_in_fp16(pico_model, tmp_path):
    run = TrainingRun(
        partial(iter, TEXT), "f" * 64, tmp_path / "work", held_out=partial(iter, TEXT[:9]), precision="fp16"
    )
    asked = settings(25, learning_rate=1e-2), read({"mlm": 1})
    found = train.train(pico_model("xlmr"), None, folder(tmp_path / "out"), *asked, run)
    assert found["held_out_loss"] < found["first_held_out_loss"] - 0.2
