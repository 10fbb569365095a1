"""Training: it learns, it survives kills to the bit, processes agree, and what goes wrong is said."""

import json
import random
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from transformers import XLMRobertaModel

from ndogo.compressors.distillation import TrainingRun, checkpoints, distil, engine, launch, prepare, steps_in_minutes
from ndogo.compressors.distillation.devices import World
from ndogo.compressors.distillation.engine import Training, rate_at
from ndogo.core.architectures import with_shape
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_model, save
from ndogo.steps.kinds.adapt import Adapt
from ndogo.steps.kinds.distil import Distil
from tests.compressors.distillation import children
from tests.pico import TEXT


@pytest.fixture
def student(pico_model, tmp_path):
    """A random student of half the width of the XLM-R pico teacher."""
    teacher = load_model(pico_model("xlmr"))
    torch.manual_seed(5)
    made = type(teacher)(with_shape(teacher.config, hidden=16, ffn=24, layers=1))
    save(made, tmp_path / "student")
    copy_tokenizer(pico_model("xlmr"), tmp_path / "student")
    return tmp_path / "student"


@pytest.fixture
def run(tmp_path):
    return TrainingRun(
        lines=partial(iter, TEXT), fingerprint="f" * 64, work=tmp_path / "work", held_out=partial(iter, TEXT[:9])
    )


def folder(path):
    path.mkdir(exist_ok=True)
    return path


def settings(steps, **more):
    given = {"batch_size": 8, "max_length": 48, "learning_rate": 3e-3, "warmup": 0.1, "weight_decay": 0.01} | more
    return {"steps": steps, **given}


def test_adapting_lowers_the_loss_and_leaves_the_source(any_pico, tmp_path, run):
    before = (any_pico / "model.safetensors").read_bytes()
    told = []
    run = replace(run, report=lambda doing, done, total, numbers=None: told.append((doing, done, total, numbers)))
    found = distil(any_pico, None, folder(tmp_path / "out"), Adapt(**settings(25, learning_rate=1e-2)), run)
    assert found["held_out_loss"] < found["first_held_out_loss"] - 0.2
    assert found["steps"] == 25 and found["tokens"] > 1000
    made = load_model(tmp_path / "out")
    assert type(made) is type(load_model(any_pico))
    assert sorted(p.name for p in any_pico.iterdir()) == sorted(p.name for p in (tmp_path / "out").iterdir())
    assert (any_pico / "model.safetensors").read_bytes() == before
    steps = [numbers for doing, _, _, numbers in told if doing == "adapt"]
    assert len(steps) == 25
    assert {"loss", "loss_mlm", "learning_rate", "gradient_norm", "tokens_per_second"} <= set(steps[-1])


def test_a_bare_encoder_learns_relations_and_is_refused_masked_modelling(pico_model, student, tmp_path, run):
    config = load_model(student).config
    save(XLMRobertaModel(config), tmp_path / "bare")
    copy_tokenizer(student, tmp_path / "bare")
    spec = Distil(**settings(30, mask_probability=0, dropout=0), objective={"relations": 1.0})
    found = distil(tmp_path / "bare", pico_model("xlmr"), folder(tmp_path / "out"), spec, run)
    assert found["held_out_loss"] < found["first_held_out_loss"]
    assert type(load_model(tmp_path / "out")).__name__ == "XLMRobertaModel"
    for asked in ({"mlm": 1.0}, {"relations": 1.0, "logits_kl": 1.0}):
        with pytest.raises(NdogoError, match="needs a masked-LM head"):
            spec = Distil(**settings(3), objective=asked)
            distil(tmp_path / "bare", pico_model("xlmr"), tmp_path, spec, replace(run, work=tmp_path / "w"))


OBJECTIVES = {"mlm": 0.5, "hidden": {"weight": 1, "map": "last"}, "relations": 1, "logits_kl": {"positions": "all"}}


def test_killed_again_and_again_the_weights_are_the_same_to_the_bit(pico_model, student, tmp_path, run, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    spec = Distil(**settings(30, patience=3, dropout=0.1), objective=OBJECTIVES)
    distil(student, pico_model("xlmr"), folder(tmp_path / "whole"), spec, run)
    out, deaths = folder(tmp_path / "killed"), random.Random(11)
    again = replace(run, work=tmp_path / "again")
    at = [*sorted(deaths.sample(range(1, 30), 5)), None]
    for death, how in zip(at, ["step", "write", "step", "write", "step", ""], strict=True):
        status = children.ran(children.doomed, student, pico_model("xlmr"), out, spec, again, death, how)
        assert status == (0 if death is None else -signal.SIGKILL)
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_two_processes_agree_with_one(pico_model, student, tmp_path, run):
    spec = Distil(**settings(100, dropout=0, batch_size=5), objective=OBJECTIVES | {"direct": 0.1})
    run = replace(run, precision="fp32")
    curves, weights = {}, {}
    for size in (1, 2):
        work = folder(tmp_path / f"work{size}")
        request = prepare(student, pico_model("xlmr"), folder(tmp_path / f"out{size}"), spec, replace(run, work=work))
        queue = children.SERVER.Queue()
        started = [
            children.SERVER.Process(
                target=children.one_of, args=(request, rank, size, tmp_path / f"store{size}", queue)
            )
            for rank in range(size)
        ]
        for child in started:
            child.start()
        curves[size] = queue.get(timeout=120)
        for child in started:
            child.join(60)
            assert child.exitcode == 0
        weights[size] = load_file(tmp_path / f"out{size}" / "model.safetensors")
    assert len(curves[1]) == len(curves[2]) == 100
    assert curves[2] == pytest.approx(curves[1], abs=1e-5)
    assert max(float((weights[1][name] - weights[2][name]).abs().max()) for name in weights[1]) < 1e-4


def test_a_launched_training_reports_and_tells_its_errors(pico_model, tmp_path, run):
    told = []
    run = replace(run, devices=2, report=lambda doing, done, total, numbers=None: told.append((doing, done)))
    found = distil(pico_model("xlmr"), None, folder(tmp_path / "out"), Adapt(**settings(2)), run)
    assert found["steps"] == 2
    assert told[-2:] == [("adapt", 1), ("adapt", 2)]
    assert load_model(tmp_path / "out").config.vocab_size == load_model(pico_model("xlmr")).config.vocab_size


def test_the_launcher_passes_on_a_process_own_error(pico_model, tmp_path, run):
    request = prepare(pico_model("xlmr"), None, tmp_path, Adapt(**settings(2)), run)
    error = run.work / "error.json"
    assert "exit status 3" in launch.failure(error, 3, request).what
    error.write_text(json.dumps({"what": "The loss is nan", "where": "step 4", "cure": "Lower it."}))
    assert str(launch.failure(error, 1, request)) == str(
        NdogoError("The loss is nan", where="step 4", cure="Lower it.")
    )


def test_a_checkpoint_of_another_training_is_refused(pico_model, tmp_path, run):
    run.work.mkdir()
    checkpoints.write(run.work / "checkpoint.safetensors", {"x": torch.zeros(1)}, {"identity": "another"})
    with pytest.raises(NdogoError, match="belongs to another training"):
        distil(pico_model("xlmr"), None, tmp_path / "out", Adapt(**settings(2)), run)


def test_a_loss_that_is_no_number_names_its_batch_and_keeps_the_checkpoint(pico_model, tmp_path, run, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    poisoned = []

    def report(doing, done, total, numbers=None):
        if done == 3 and doing == "adapt":
            for thing in poisoned:
                thing.parameters["student.lm_head.dense.bias"].data.fill_(float("nan"))

    request = prepare(pico_model("xlmr"), None, folder(tmp_path / "out"), Adapt(**settings(9)), run)
    training = Training(request, World(0, 1, torch.device("cpu")), report)
    poisoned.append(training)
    training.save()
    kept = (run.work / "checkpoint.safetensors").read_bytes()
    training.save = lambda: None
    with pytest.raises(NdogoError, match=r"nan.*at step 4") as raised:
        training.train()
    assert "corpus rows [" in raised.value.where and "step 3" in raised.value.where
    assert (run.work / "checkpoint.safetensors").read_bytes() == kept


def test_a_full_disk_is_said_and_the_former_checkpoint_stays(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    checkpoints.write(path, {"weight/x": torch.ones(4)}, {"identity": "a"})
    assert children.ran(children.write_too_much, path) == 0
    tensors, facts = checkpoints.read(path)
    assert facts == {"identity": "a"} and torch.equal(tensors["weight/x"], torch.ones(4))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    path.write_bytes(b"no checkpoint")
    with pytest.raises(NdogoError, match="damaged"):
        checkpoints.read(path)


def test_patience_stops_and_gives_the_best_weights(pico_model, tmp_path, run):
    spec = Adapt(**settings(60, learning_rate=0.5, warmup=0, patience=2, clip=None))
    found = distil(pico_model("xlmr"), None, folder(tmp_path / "out"), spec, run)
    assert found["steps"] < 60
    best = load_file(run.work / "best.safetensors")
    name = "student.roberta.encoder.layer.0.attention.self.query.weight"
    written = load_model(tmp_path / "out").state_dict()[name.removeprefix("student.")]
    assert torch.equal(best["weight/" + name], written)
    assert found["held_out_loss"] <= found["first_held_out_loss"]
    with pytest.raises(NdogoError, match="patience needs held-out text"):
        distil(pico_model("xlmr"), None, tmp_path, spec, replace(run, held_out=None, work=tmp_path / "other"))


def test_minutes_become_steps_once(pico_model, tmp_path, run, monkeypatch):
    spec = Adapt(**settings(5))
    steps = steps_in_minutes(pico_model("xlmr"), None, spec, run, 0.1)
    assert steps > 5
    monkeypatch.setattr("ndogo.compressors.distillation.Training", lambda *_: pytest.fail("measured twice"))
    assert steps_in_minutes(pico_model("xlmr"), None, spec, run, 0.1) == steps
    assert not list(run.work.glob("*.safetensors"))


def test_too_many_positions_are_refused(pico_model, tmp_path, run):
    with pytest.raises(NdogoError, match="at most 64 positions"):
        distil(pico_model("xlmr"), None, tmp_path, Adapt(**settings(3, max_length=65)), run)


def test_rate_rises_to_one_and_falls_to_almost_nothing():
    rates = [rate_at(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == rates[10] == 1.0 and 0 < rates[0] < 0.1 and 0 < rates[-1] < 0.02
    assert rate_at(0, 10, 0.0) == 1.0


def test_every_step_of_a_kind_has_its_own_dropout():
    seeds = {
        engine.derived(0, engine.DROPOUT, step, part, rank) for step in range(9) for part in (0, 1) for rank in (0, 1)
    }
    assert len(seeds) == 36
