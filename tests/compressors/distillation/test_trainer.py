"""Training: it learns, it survives kills to the bit, processes agree, and what goes wrong is said."""

import gc
import json
import random
import shutil
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from transformers import PreTrainedModel, XLMRobertaModel

from ndogo.compressors.distillation import checkpoints, devices, launch, trainer
from ndogo.compressors.distillation import train as train_module
from ndogo.compressors.distillation.devices import ProcessGroup
from ndogo.compressors.distillation.objectives import Objectives
from ndogo.compressors.distillation.optimiser import rate_at
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.compressors.distillation.train import prepare, steps_in_minutes, train
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.core.architectures import with_shape
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_model, save
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
    return TrainingSettings(steps=steps, **given)


def read(objectives):
    return TypeAdapter(Objectives).validate_python(objectives)


MLM = read({"mlm": 1})


def test_adapting_lowers_the_loss_and_leaves_the_source(any_pico, tmp_path, run):
    before = (any_pico / "model.safetensors").read_bytes()
    told = []
    run = replace(run, report=lambda doing, done, total, numbers=None: told.append((doing, done, total, numbers)))
    found = train(any_pico, None, folder(tmp_path / "out"), settings(25, learning_rate=1e-2), MLM, run)
    assert found["held_out_loss"] < found["first_held_out_loss"] - 0.2
    assert found["steps"] == 25 and found["tokens"] > 1000
    made = load_model(tmp_path / "out")
    assert type(made) is type(load_model(any_pico))
    assert sorted(p.name for p in any_pico.iterdir()) == sorted(p.name for p in (tmp_path / "out").iterdir())
    assert (any_pico / "model.safetensors").read_bytes() == before
    steps = [numbers for doing, _, _, numbers in told if doing == "training"]
    assert len(steps) == 25
    assert {"loss", "loss_mlm", "learning_rate", "gradient_norm", "tokens_per_second"} <= set(steps[-1])


def test_a_bare_encoder_learns_relations_and_is_refused_masked_modelling(pico_model, student, tmp_path, run):
    config = load_model(student).config
    save(XLMRobertaModel(config), tmp_path / "bare")
    copy_tokenizer(student, tmp_path / "bare")
    asked = settings(30, mask_probability=0, dropout=0), read({"relations": 1.0})
    found = train(tmp_path / "bare", pico_model("xlmr"), folder(tmp_path / "out"), *asked, run)
    assert found["held_out_loss"] < found["first_held_out_loss"]
    assert type(load_model(tmp_path / "out")).__name__ == "XLMRobertaModel"
    for objectives in ({"mlm": 1.0}, {"relations": 1.0, "logits_kl": 1.0}):
        with pytest.raises(NdogoError, match="needs a masked-LM head"):
            asked = settings(3), read(objectives)
            train(tmp_path / "bare", pico_model("xlmr"), tmp_path, *asked, replace(run, work=tmp_path / "w"))


def test_a_batch_in_which_nothing_can_be_masked_is_passed_over(pico_model, tmp_path, run):
    unknown = replace(run, lines=lambda: iter(["\u2603 \u2603"] * 20), held_out=None)
    asked = settings(3), read({"mlm": 1, "logits_kl": 1})
    found = train(pico_model("bert"), pico_model("bert"), folder(tmp_path / "out"), *asked, unknown)
    assert found["loss"] == 0 and found["steps"] == 3


def test_a_training_leaves_no_weights_in_memory(pico_model, tmp_path, run):
    gc.collect()
    gc.disable()  # the collector comes seldom to what lives long, and a sweep trains for hours in one process
    try:
        asked = settings(2), read({"mlm": 1, "hidden": 1, "direct": 1}), run
        train(pico_model("xlmr"), pico_model("xlmr"), folder(tmp_path / "out"), *asked)
        left = [type(found).__name__ for found in gc.get_objects() if isinstance(found, Trainer | PreTrainedModel)]
    finally:
        gc.enable()
    assert left == []


def test_objectives_that_compare_need_a_teacher(student, tmp_path, run):
    with pytest.raises(NdogoError, match="direct, hidden need a teacher"):
        train(student, None, tmp_path, settings(3), read({"mlm": 1, "hidden": 1, "direct": 1}), run)


FOUR = read({"mlm": 0.5, "hidden": {"weight": 1, "map": "last"}, "relations": 1, "logits_kl": {"positions": "all"}})


def test_killed_again_and_again_the_weights_are_the_same_to_the_bit(pico_model, student, tmp_path, run, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    asked = settings(30, patience=3, dropout=0.1), FOUR
    train(student, pico_model("xlmr"), folder(tmp_path / "whole"), *asked, run)
    out, deaths = folder(tmp_path / "killed"), random.Random(11)
    again = replace(run, work=tmp_path / "again")
    at = [*sorted(deaths.sample(range(1, 30), 5)), None]
    for death, how in zip(at, ["step", "write", "step", "write", "step", ""], strict=True):
        status = children.ran(children.doomed, student, pico_model("xlmr"), out, *asked, again, death, how)
        assert status == (0 if death is None else -signal.SIGKILL)
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_two_processes_agree_with_one(pico_model, student, tmp_path, run):
    asked = settings(100, dropout=0, batch_size=5), FOUR | read({"direct": 0.1})
    run = replace(run, precision="fp32")
    curves, weights = {}, {}
    for size in (1, 2):
        work = folder(tmp_path / f"work{size}")
        job = prepare(student, pico_model("xlmr"), folder(tmp_path / f"out{size}"), *asked, replace(run, work=work))
        queue = children.SERVER.Queue()
        started = [
            children.SERVER.Process(target=children.one_of, args=(job, rank, size, tmp_path / f"store{size}", queue))
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
    found = train(pico_model("xlmr"), None, folder(tmp_path / "out"), settings(2), MLM, run)
    assert found["steps"] == 2
    assert told[-2:] == [("training", 1), ("training", 2)]
    assert load_model(tmp_path / "out").config.vocab_size == load_model(pico_model("xlmr")).config.vocab_size


def test_the_launcher_passes_on_a_process_own_error(pico_model, tmp_path, run):
    job = prepare(pico_model("xlmr"), None, tmp_path, settings(2), MLM, run)
    error = run.work / "error.json"
    assert "exit status 3" in launch.failure(error, 3, job).what
    error.write_text(json.dumps({"what": "The loss is nan", "where": "step 4", "cure": "Lower it."}))
    assert str(launch.failure(error, 1, job)) == str(NdogoError("The loss is nan", where="step 4", cure="Lower it."))


@pytest.fixture
def interrupted(pico_model, student, tmp_path, run):
    """A training of `student` by the pico teacher that left a checkpoint: what `train` is called with."""
    given = {
        "student": student,
        "teacher": pico_model("xlmr"),
        "settings": settings(2),
        "objectives": read({"mlm": 1, "direct": 1}),
        "run": run,
    }
    trainer = Trainer(prepare(out=tmp_path, **given), ProcessGroup(0, 1, torch.device("cpu")), run.report)
    trainer.learn()
    trainer.save()
    return given


def other_weights(path, to):
    model = load_model(path)
    model.base_model.embeddings.word_embeddings.weight.data.mul_(1.5)
    save(model, to)
    copy_tokenizer(path, to)
    return to


@pytest.mark.parametrize("changed", ["student", "teacher", "objectives", "settings", "seed", "text", "precision"])
def test_a_checkpoint_of_another_training_is_refused(changed, interrupted, tmp_path, monkeypatch):
    given, run = dict(interrupted), interrupted["run"]
    kept = (run.work / "checkpoint.safetensors").read_bytes()
    if changed in ("student", "teacher"):
        given[changed] = other_weights(given[changed], tmp_path / "other")
    elif changed == "precision":  # `auto` on a machine of the other kind
        other = not devices.multiplies_bf16(torch.device("cpu"))
        monkeypatch.setattr(devices, "multiplies_bf16", lambda _: other)
    else:
        given |= {
            "objectives": {"objectives": read({"mlm": 1, "direct": 2})},
            "settings": {"settings": settings(2, dropout=0.2)},
            "seed": {"run": replace(run, seed=1)},
            "text": {"run": replace(run, fingerprint="e" * 64)},
        }[changed]
    with pytest.raises(NdogoError, match="belongs to another training") as raised:
        train(out=tmp_path / "out", **given)
    assert str(run.work) in raised.value.cure
    assert (run.work / "checkpoint.safetensors").read_bytes() == kept


def test_a_checkpoint_goes_on_wherever_its_files_lie(interrupted, tmp_path):
    moved = {name: tmp_path / f"moved-{name}" for name in ("student", "teacher")}
    for name, to in moved.items():
        shutil.copytree(interrupted[name], to)
    run = interrupted["run"]
    again = replace(run, work=run.work.rename(tmp_path / "elsewhere"))
    numbers = train(out=folder(tmp_path / "out"), **interrupted | moved | {"run": again})
    assert (numbers["steps"], numbers["resumed_at_step"]) == (2, 1)


def test_a_loss_that_is_no_number_names_its_batch_and_keeps_the_checkpoint(pico_model, tmp_path, run, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    poisoned = []

    def report(doing, done, total, numbers=None):
        if done == 3 and doing == "training":
            for thing in poisoned:
                thing.parameters["student.lm_head.dense.bias"].data.fill_(float("nan"))

    job = prepare(pico_model("xlmr"), None, folder(tmp_path / "out"), settings(9), MLM, run)
    training = Trainer(job, ProcessGroup(0, 1, torch.device("cpu")), report)
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


@pytest.mark.parametrize("damage", ["flipped", "cut off", "another shape", "folder"])
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew(tmp_path, caplog, damage: str):
    path = tmp_path / "checkpoint.safetensors"
    checkpoints.write(path, {"weight/x": torch.ones(400)}, {"identity": "a"})
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[-10] ^= 1
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "another shape":
        checkpoints.save_file({"x": torch.ones(1)}, path, metadata={"facts": "[]"})
    else:
        path.write_bytes(bytes(flipped) if damage == "flipped" else good[:-100])
    assert not checkpoints.readable(path)
    assert not path.exists() and "starts anew" in caplog.text
    assert (tmp_path / "checkpoint.safetensors.damaged").exists()


def test_patience_stops_and_gives_the_best_weights(pico_model, tmp_path, run):
    asked = settings(60, learning_rate=0.5, warmup=0, patience=2, clip=None), MLM
    found = train(pico_model("xlmr"), None, folder(tmp_path / "out"), *asked, run)
    assert found["steps"] < 60
    best = load_file(run.work / "best.safetensors")
    name = "student.roberta.encoder.layer.0.attention.self.query.weight"
    written = load_model(tmp_path / "out").state_dict()[name.removeprefix("student.")]
    assert torch.equal(best["weight/" + name], written)
    assert found["held_out_loss"] <= found["first_held_out_loss"]
    with pytest.raises(NdogoError, match="patience needs held-out text"):
        train(pico_model("xlmr"), None, tmp_path, *asked, replace(run, held_out=None, work=tmp_path / "other"))


def test_minutes_become_steps_once_for_each_training(pico_model, student, tmp_path, run, monkeypatch):
    steps = steps_in_minutes(pico_model("xlmr"), None, settings(5), MLM, run, 0.1)
    assert steps > 5
    measured = []
    monkeypatch.setattr(Trainer, "learn", lambda self: measured.append(self.job.student))
    assert steps_in_minutes(pico_model("xlmr"), None, settings(9), MLM, run, 0.1) == steps
    assert measured == []  # the number of steps is what is asked, so it does not name the training
    monkeypatch.setattr(train_module, "TRIAL_STEPS", 3)
    steps_in_minutes(student, None, settings(5), MLM, run, 0.1)
    assert measured == [str(student)] * 4
    assert steps_in_minutes(pico_model("xlmr"), None, settings(5), MLM, run, 0.1) == steps
    assert not list(run.work.glob("*.safetensors"))


def test_too_many_positions_are_refused(pico_model, tmp_path, run):
    with pytest.raises(NdogoError, match="at most 64 positions"):
        train(pico_model("xlmr"), None, tmp_path, settings(3, max_length=65), MLM, run)


def test_rate_rises_to_one_and_falls_to_almost_nothing():
    rates = [rate_at(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == rates[10] == 1.0 and 0 < rates[0] < 0.1 and 0 < rates[-1] < 0.02
    assert rate_at(0, 10, 0.0) == 1.0


def test_every_step_of_a_kind_has_its_own_dropout():
    seeds = {
        trainer.derived(0, trainer.DROPOUT, step, part, rank) for step in range(9) for part in (0, 1) for rank in (0, 1)
    }
    assert len(seeds) == 36


def test_a_resumed_training_has_the_threads_that_it_began_with(pico_model, student, tmp_path, run, caplog):
    job = prepare(student, pico_model("xlmr"), folder(tmp_path / "out"), settings(4), FOUR, run)
    begun = Trainer(job, ProcessGroup(0, 1, torch.device("cpu")), run.report)
    begun.learn()
    begun.save()
    torch.set_num_threads(2)
    with caplog.at_level("INFO"):
        found = train(student, pico_model("xlmr"), tmp_path / "out", settings(4), FOUR, run)
    assert found["threads"] == torch.get_num_threads() == 1 and found["resumed_at_step"] == 1
    assert "began with 1 threads and goes on with as many" in caplog.text
    torch.set_num_threads(2)
    other = replace(run, work=tmp_path / "other")
    assert train(student, pico_model("xlmr"), folder(tmp_path / "two"), settings(2), FOUR, other)["threads"] == 2
