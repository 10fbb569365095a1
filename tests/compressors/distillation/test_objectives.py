"""All objectives together: read from a recipe without torch, found by their files, and adding up whatever the batch's parts."""

import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from ndogo.compressors.distillation import objectives
from ndogo.compressors.distillation.batches import GlobalBatch
from ndogo.compressors.distillation.devices import ProcessGroup
from ndogo.compressors.distillation.objectives import OBJECTIVES, Objectives
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.compressors.distillation.train import train
from tests.compressors.distillation.checks import NARROW, floats, losses_for
from tests.pico import TEXT

ROOT = Path(__file__).parents[3]
ALONE = ProcessGroup(0, 1, torch.device("cpu"))
NEW = '''
    """norms: L = 1/N sum_n (||h_s|| - ||h_t||)^2 of the last hidden states."""

    from ndogo.compressors.distillation.objective import StateObjective, Wanted


    class Norms(StateObjective):
        """Squared difference of lengths."""

        name = "norms"

        def reads(self, student, teacher):
            return Wanted(last=True), Wanted(last=True)

        def loss(self, student, teacher, real_BL, projections):
            return (student.last_BLH.norm(dim=-1) - teacher.last_BLH.norm(dim=-1))[real_BL].square().sum()
'''


def read(value):
    return TypeAdapter(Objectives).validate_python(value)


def test_a_number_is_the_weight_and_a_table_all_settings():
    found = read({"hidden": {"weight": 2, "map": [[1, 3]]}, "mlm": 0.5})
    assert list(found) == ["hidden", "mlm"]
    assert found["hidden"].map == ((1, 3),) and (found["hidden"].weight, found["mlm"].weight) == (2, 0.5)
    assert TypeAdapter(Objectives).dump_python(found)["hidden"] == {"weight": 2, "map": ((1, 3),), "embeddings": False}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "a table of objectives"),
        ({"mml": 1}, "unknown objective `mml`; allowed: attention_maps, "),
        ({"mlm": {"positions": "all"}}, "positions"),
        ({"logits_kl": {"temperature": 0}}, "temperature"),
    ],
)
def test_what_no_objective_knows_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        read(given)


def test_reading_a_recipe_loads_no_torch():
    code = "import sys, ndogo.compressors.distillation.objectives; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_is_one_file_and_one_test(name):
    assert OBJECTIVES[name].__module__.rpartition(".")[2] == name
    assert (Path(__file__).parent / "objectives" / f"test_{name}.py").is_file()


def test_a_new_file_is_a_new_objective(pico_model, tmp_path, monkeypatch):
    (tmp_path / "norms.py").write_text(textwrap.dedent(NEW))
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(tmp_path)])
    monkeypatch.setattr(objectives, "OBJECTIVES", objectives.discover())
    monkeypatch.delitem(sys.modules, "ndogo.compressors.distillation.objectives.norms")
    (tmp_path / "out").mkdir()
    settings = TrainingSettings(steps=2, batch_size=8, max_length=48, dropout=0.1)
    run = TrainingRun(lines=partial(iter, TEXT), fingerprint="f", work=tmp_path / "work")
    model = pico_model("xlmr")
    numbers = train(model, model, tmp_path / "out", settings, read({"mlm": 1, "norms": 0.5}), run)
    assert numbers["loss"] == pytest.approx(numbers["loss_mlm"] + 0.5 * numbers["loss_norms"])
    assert numbers["loss_norms"] > 0  # dropout tells student and teacher apart


def test_all_objectives_at_once_add_up(pair, ragged):
    student, teacher = pair("xlmr", **NARROW)
    given = {name: kind(weight=0.3) for name, kind in OBJECTIVES.items()}
    (batch,) = ragged.batch.share(0, 1, 1000)
    alone, gradients, learnt = {}, 0.0, {}
    for name, objective in given.items():
        losses = losses_for(student, teacher, {name: objective})
        learnt |= losses.projections
        alone |= floats(losses.compute(batch, ragged.denominators, seed=0))
        gradients = gradients + student.base_model.embeddings.word_embeddings.weight.grad.clone()
        student.zero_grad(set_to_none=True)
    losses = losses_for(student, teacher, given)
    losses.projections = learnt
    together = floats(losses.compute(batch, ragged.denominators, seed=0))
    assert together == pytest.approx(alone)
    torch.testing.assert_close(student.base_model.embeddings.word_embeddings.weight.grad, gradients)


def test_padding_and_parts_change_nothing(pair, ragged):
    student, teacher = pair("xlmr", **NARROW)
    more = {"logits_kl": {"positions": "all"}, "hidden": {"standardise": True, "depths": {"1/2": 0.5, "1": 1}}}
    losses = losses_for(student, teacher, read({name: 1 for name in OBJECTIVES} | more))
    (batch,) = ragged.batch.share(0, 1, 1000)
    whole = floats(losses.accumulate([batch], ragged.denominators, [0], ALONE))
    gradient = student.base_model.embeddings.word_embeddings.weight.grad.clone()
    student.zero_grad(set_to_none=True)
    wide = [
        np.pad(part, ((0, 0), (0, 6)), constant_values=filler)
        for part, filler in ((ragged.batch.ids, 77), (ragged.batch.real, False), (ragged.batch.labels, -100))
    ]
    padded = GlobalBatch(ragged.batch.rows, *wide)
    parts = [part for rank in (0, 1) for part in padded.share(rank, 2, 12)]
    assert len(parts) == 5
    sums = floats(losses.accumulate(parts, ragged.denominators, [0] * 5, ALONE))
    assert sums == pytest.approx(whole, rel=1e-9)
    torch.testing.assert_close(student.base_model.embeddings.word_embeddings.weight.grad, gradient)
