"""Embedding models: what is measured before step 1, that vectors come near, and what the student's folder then says."""

import json
import random
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import functional

from ndogo.compressors.distillation import checkpoints
from ndogo.compressors.distillation.devices import ProcessGroup
from ndogo.compressors.distillation.objectives import Objectives
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.compressors.distillation.taps import look
from ndogo.compressors.distillation.train import prepare, train
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.core.architectures import with_shape
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_model, load_tokenizer, save
from ndogo.core.progress import silent
from ndogo.core.sentences import copy_sentence_files, read_vectors
from ndogo.core.vectors import pool, read_dense
from tests import pico
from tests.compressors.distillation import children

ALL = {
    "hidden": {"standardise": True, "depths": {"1/2": 0.5, "1": 1}},
    "sentence": {"space": "teacher"},
    "similarity": {"weight": 0.5, "stored": 20},
}


@pytest.fixture
def teacher(pico_model, tmp_path) -> Path:
    return pico.embedder(pico_model("xlmr"), tmp_path / "teacher", dense=12)


@pytest.fixture
def student(teacher, tmp_path) -> Path:
    """A random bare student of half the width."""
    whole = load_model(teacher)
    torch.manual_seed(5)
    made = type(whole)(with_shape(whole.config, hidden=16, ffn=24, layers=2), add_pooling_layer=False)
    save(made, tmp_path / "student")
    copy_tokenizer(teacher, tmp_path / "student")
    copy_sentence_files(teacher, tmp_path / "student")
    return tmp_path / "student"


@pytest.fixture
def run(tmp_path) -> TrainingRun:
    return TrainingRun(lines=partial(iter, pico.TEXT), fingerprint="f" * 64, work=tmp_path / "work", precision="fp32")


def read(objectives):
    return TypeAdapter(Objectives).validate_python(objectives)


def settings(steps: int, **more) -> TrainingSettings:
    given = {"batch_tokens": 300, "windows": (8, 20), "max_length": 48, "learning_rate": 3e-3, "mask_probability": 0}
    return TrainingSettings(steps=steps, **given | {"dropout": 0.0} | more)


def folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


@torch.no_grad()
def vectors_of(path: Path, texts: list[str]) -> torch.Tensor:
    model, tokenizer, said = load_model(path), load_tokenizer(path), read_vectors(path)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    states = model(**{k: v for k, v in batch.items() if k != "token_type_ids"}).last_hidden_state
    return read_dense(path, said)(pool(states, batch["attention_mask"].bool(), said.pooling))


def trainer_of(student, teacher, out, asked, objectives, run) -> Trainer:
    return Trainer(
        prepare(student, teacher, out, asked, objectives, run), ProcessGroup(0, 1, torch.device("cpu")), silent
    )


def test_what_is_measured_before_step_1(teacher, student, tmp_path, run):
    made = trainer_of(student, teacher, tmp_path, settings(3), read(ALL), run)
    made.measure()
    losses = made.losses
    assert losses.projections["hidden"]["last"] is losses.projections["sentence"]["last"]
    assert losses.projections["similarity"]["last"] is losses.projections["sentence"]["last"]
    assert sum(name.endswith("last.linear.weight") for name in losses.parameters()) == 1
    for name in ("last", "1-1"):
        one = losses.projections["hidden"][name]
        ours, theirs, vectors = [], [], []
        with torch.no_grad():
            for row in range(len(made.corpus)):
                ids = torch.from_numpy(made.corpus.sequence(row).astype(np.int64))[None]
                real = torch.ones_like(ids, dtype=torch.bool)
                seen, taught = (
                    look(m.eval(), w, ids, real)
                    for m, w in zip((losses.student, losses.teacher), losses.wanted, strict=True)
                )
                ours.append(seen.at(one.pair[0])[0])
                theirs.append(taught.at(one.pair[1])[0])
                vectors.append(read_dense(teacher, read_vectors(teacher))(taught.last_BLH.mean(1)))
        x, y = torch.cat(ours).double(), torch.cat(theirs).double()
        torch.testing.assert_close(one.mean.double(), y.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.spread.double(), y.std(0, unbiased=False), rtol=1e-4, atol=1e-5)
        x1 = torch.cat([x, torch.ones(len(x), 1)], 1)
        best = torch.linalg.lstsq(x1, (y - y.mean(0)) / y.std(0, unbiased=False)).solution
        error = (one(x.float()) - one.standardised(y.float())).square().mean()
        wanted = (x1 @ best - (y - y.mean(0)) / y.std(0, unbiased=False)).square().mean()
        assert float(error) == pytest.approx(float(wanted), rel=1e-3) and wanted < 1
    last = losses.projections["sentence"]["last"]
    torch.testing.assert_close(last.centre, torch.cat(vectors).mean(0), rtol=1e-4, atol=1e-5)
    stored = losses.projections["similarity"]["bank"].stored
    assert stored.shape == (20, 12) and all((torch.cat(vectors) - row).abs().amax(1).min() < 1e-4 for row in stored)


def test_a_student_learns_its_teachers_vectors_and_says_how_they_are_made(teacher, student, tmp_path, run):
    found = train(student, teacher, folder(tmp_path / "out"), settings(60), read(ALL), run)
    assert found["loss_sentence"] < 0.3 and found["loss_similarity"] < 1
    said = read_vectors(tmp_path / "out")
    assert said == replace(read_vectors(teacher), dense=("2_Dense",)) and said.normalize
    texts = pico.TEXT[:9]
    ours, theirs = vectors_of(tmp_path / "out", texts), vectors_of(teacher, texts)
    assert ours.shape == theirs.shape == (9, 12)
    centre = theirs.mean(0)
    assert functional.cosine_similarity(ours - centre, theirs - centre).mean() > 0.8
    nearest = (functional.normalize(ours - centre, dim=-1) @ functional.normalize(theirs - centre, dim=-1).T).argmax(1)
    assert nearest.tolist() == list(range(9))


def test_in_its_own_space_its_width_is_that_of_its_vectors(teacher, student, tmp_path, run):
    asked = read({"sentence": 1, "similarity": {"against": "student", "temperature": 0.1}})
    found = train(student, teacher, folder(tmp_path / "out"), settings(60), asked, run)
    assert read_vectors(tmp_path / "out").dense == () and vectors_of(tmp_path / "out", ["moja"]).shape == (1, 16)
    assert not list((tmp_path / "out").glob("*Dense")) and found["loss_similarity"] < 1.5
    modules = json.loads((tmp_path / "out" / "modules.json").read_text())
    assert [m["path"] for m in modules] == ["", "1_Pooling", "2_Normalize"]


def test_killed_again_and_again_the_bytes_are_the_same(teacher, student, tmp_path, run, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    asked = settings(12, dropout=0.1), read(ALL)
    train(student, teacher, folder(tmp_path / "whole"), *asked, run)
    out, again = folder(tmp_path / "killed"), replace(run, work=tmp_path / "again")
    deaths = [*sorted(random.Random(3).sample(range(1, 12), 2)), None]
    for death, how in zip(deaths, ["step", "write", ""], strict=True):
        status = children.ran(children.doomed, student, teacher, out, *asked, again, death, how)
        assert status == (0 if death is None else -signal.SIGKILL)
    for name in ("model.safetensors", "2_Dense/model.safetensors", "modules.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_teacher_whose_dense_layer_bends_is_refused(teacher, student, tmp_path, run):
    file = teacher / "2_Dense" / "config.json"
    file.write_text(file.read_text().replace("linear.Identity", "activation.Tanh"))
    with pytest.raises(NdogoError, match="with an activation"):
        train(student, teacher, tmp_path, settings(2), read({"sentence": 1}), run)


def test_a_folder_that_says_nothing_is_read_as_a_mean(teacher, student, tmp_path, run):
    for path in (teacher, student):
        for name in ("modules.json", "config_sentence_transformers.json"):
            (path / name).unlink()
        shutil.rmtree(path / "1_Pooling")
    train(student, teacher, folder(tmp_path / "out"), settings(3), read({"sentence": {"space": "teacher"}}), run)
    said = read_vectors(tmp_path / "out")
    assert (said.pooling, said.dense, said.normalize) == ("mean", ("2_Dense",), False)
    assert vectors_of(tmp_path / "out", ["moja"]).shape == (1, 32)
