"""A teacher that speaks once: as good as live within what is stated, found again, made again where damaged, never too large."""

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from ndogo.compressors.distillation import kept, teacher_cache
from ndogo.compressors.distillation.devices import ProcessGroup
from ndogo.compressors.distillation.objectives import Objectives
from ndogo.compressors.distillation.run import TrainingRun
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.compressors.distillation.train import prepare, train
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.core.architectures import with_shape
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_model, save
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from ndogo.steps.kinds.distil import Distil
from ndogo.steps.step import Context
from tests.compressors.cases import model_of
from tests.compressors.distillation import children
from tests.pico import TEXT

LINES = [f"{a} {b}" for a in TEXT[:9] for b in (*TEXT[:9], "")]
EVERYTHING = {
    "hidden": {"map": "last", "embeddings": True},
    "cosine": 1,
    "relations": 1,
    "direct": 1,
    "attention_maps": 1,
    "attention_scores": {"map": "last"},
    "logits_kl": {"positions": "all"},
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that some fifty rows are several blocks."""
    monkeypatch.setattr(kept, "BLOCK", 16)


@pytest.fixture
def student(pico_model, tmp_path):
    """`student(family)`: a random student of half the teacher's width."""

    def make(family):
        teacher = load_model(pico_model(family))
        torch.manual_seed(5)
        save(type(teacher)(with_shape(teacher.config, hidden=16, ffn=24, layers=1)), tmp_path / f"student-{family}")
        copy_tokenizer(pico_model(family), tmp_path / f"student-{family}")
        return tmp_path / f"student-{family}"

    return make


@pytest.fixture
def run(tmp_path):
    return TrainingRun(
        lines=partial(iter, LINES),
        fingerprint="f" * 64,
        work=tmp_path / "work",
        held_out=partial(iter, TEXT[:5]),
        precision="fp32",
        teacher_cache=tmp_path / "store",
    )


def settings(how, steps=12, **more):
    given = {"batch_size": 8, "max_length": 48, "learning_rate": 3e-3, "dropout": 0, "mask_probability": 0} | more
    return TrainingSettings(steps=steps, teacher_outputs=how, **given)


def read(objectives):
    return TypeAdapter(Objectives).validate_python(objectives)


def trainer(student, teacher, objectives, how, run):
    run = replace(run, work=run.work.with_name(f"work-{how}"))
    return Trainer(
        prepare(student, teacher, run.work, settings(how), read(objectives), run),
        ProcessGroup(0, 1, torch.device("cpu")),
        silent,
    )


def made(student, teacher, out, run, how="fp16", objectives=None, **more):
    out.mkdir()
    numbers = train(
        student, teacher, out, settings(how, **more), read(objectives or {"hidden": 1, "relations": 1}), run
    )
    return (out / "model.safetensors").read_bytes(), numbers


@pytest.fixture
def asked(monkeypatch):
    """How often the teacher spoke so far."""
    calls = []
    look = teacher_cache.look
    monkeypatch.setattr(teacher_cache, "look", lambda *given: calls.append(1) or look(*given))
    return calls


@pytest.mark.parametrize("family", ["xlmr", "bert", "distilbert", "modernbert", "eurobert"])
def test_every_objective_learns_what_the_live_teacher_says(family, pico_model, student, run):
    found = {}
    for how in ("live", "fp16", "int8"):
        one = trainer(student(family), pico_model(family), EVERYTHING, how, run)
        batch = one.batch_of(0)
        held_out = one.held_out[0]
        found[how] = [one._accumulate(b, b.denominators, learning=True) for b in (batch, held_out)]
        found[how, "gradients"] = torch.cat([p.grad.flatten() for p in one.parameters.values() if p.grad is not None])
    for how, near in (("fp16", 2e-3), ("int8", 5e-2)):
        for ours, live in zip(found[how], found["live"], strict=True):
            assert ours == pytest.approx(live, rel=near)
        off = (found[how, "gradients"] - found["live", "gradients"]).norm() / found["live", "gradients"].norm()
        assert 0 < off < near


@pytest.mark.parametrize("kind", ["token", "sequence"])
def test_what_a_task_head_says_is_kept_too(kind, pico_model, run, tmp_path):
    teacher = model_of(pico_model("xlmr"), kind)
    student = type(teacher)(with_shape(teacher.config, hidden=16, ffn=24, layers=1))
    for name, model in (("teacher", teacher), ("student", student)):
        save(model, tmp_path / name)
        copy_tokenizer(pico_model("xlmr"), tmp_path / name)
    found = []
    for how in ("live", "fp16"):
        one = trainer(tmp_path / "student", tmp_path / "teacher", {"task_logits": 1, "hidden": 1}, how, run)
        batch = one.batch_of(0)
        found.append(one._accumulate(batch, batch.denominators, learning=True))
    assert found[1] == pytest.approx(found[0], rel=2e-3) and found[0]["task_logits"] > 0


def test_the_stated_error_is_the_error(pico_model, student, run):
    wanted = {"hidden": {"map": "last"}}
    live = trainer(student("xlmr"), pico_model("xlmr"), wanted, "live", run)
    for how, most in (("fp16", 1e-3), ("int8", 1e-2)):
        one = trainer(student("xlmr"), pico_model("xlmr"), wanted, how, run)
        assert one.losses.teacher is None, "nothing needs its head"
        stated = one.losses.outputs.numbers()["teacher_outputs_error"]
        wrong, whole = [], []
        for step in range(6):
            for part in one.batch_of(step).share(0, 1, 10**6):
                ours, theirs = one.losses._taught(part), live.losses._taught(part)
                wrong.append((ours.states[2] - theirs.states[2])[part.real])
                whole.append(theirs.states[2][part.real])
                assert not ours.states[2][~part.real].any()
        values = torch.cat(whole)
        measured = float(torch.cat(wrong).norm() / (values - values.mean(0)).norm())
        assert measured == pytest.approx(stated, rel=0.3)
        assert 0 < stated < most


def test_epochs_resumed_runs_and_other_arms_find_it(pico_model, student, run, tmp_path, asked):
    teacher = pico_model("xlmr")
    whole, numbers = made(student("xlmr"), teacher, tmp_path / "one", run)
    spoken, size = len(asked), numbers["teacher_outputs_mb"] * 1e6
    assert spoken > 0
    files = [f for f in (tmp_path / "store" / "teacher").rglob("*") if f.name in ("values", "ranges")]
    assert sum(f.stat().st_size for f in files) == pytest.approx(size, abs=500)
    again, _ = made(student("xlmr"), teacher, tmp_path / "two", replace(run, work=tmp_path / "w2"))
    assert again == whole
    other, _ = made(
        student("xlmr"), teacher, tmp_path / "3", replace(run, work=tmp_path / "w3", seed=1), learning_rate=0.1
    )
    assert other != whole
    assert len(asked) == spoken + 2, "each looked at one row to learn the shapes, and at nothing else"
    one_more = {"hidden": {"map": "last", "embeddings": True}, "relations": 1}
    made(student("xlmr"), teacher, tmp_path / "4", replace(run, work=tmp_path / "w4"), objectives=one_more)
    new = {f.parent.name for f in (tmp_path / "store" / "teacher").rglob("values")} - {f.parent.name for f in files}
    assert new and {name.split("-", 1)[1] for name in new} == {"state-0"}


@pytest.mark.parametrize("how", ["fp16", "int8"])
def test_what_is_damaged_cut_off_or_half_written_is_made_again_to_the_bit(
    how, pico_model, student, run, tmp_path, asked
):
    one, teacher = student("xlmr"), pico_model("xlmr")
    whole, _ = made(one, teacher, tmp_path / "whole", run, how)
    folders = sorted((tmp_path / "store" / "teacher").glob("*/values"))
    first = {file: file.read_bytes() for file in folders}

    def flip(file):
        with file.open("r+b") as opened:
            opened.seek(100)
            byte = opened.read(1)[0]
            opened.seek(100)
            opened.write(bytes([byte ^ 1]))

    def tear(file):
        lines = file.with_name("blocks.jsonl").read_text().splitlines()
        file.with_name("blocks.jsonl").write_text(lines[0] + "\n" + lines[1][:30])

    harms = [flip, lambda file: os.truncate(file, file.stat().st_size // 2), lambda file: file.unlink(), tear]
    for number, harm in enumerate(harms):
        harm(max(folders, key=lambda file: file.stat().st_size))
        before = len(asked)
        found, _ = made(one, teacher, tmp_path / f"n{number}", replace(run, work=tmp_path / f"w{number}"), how)
        assert found == whole
        assert len(asked) > before + 1, "the teacher spoke again"
        assert {file: file.read_bytes() for file in folders} == first


def test_killed_while_the_teacher_speaks_and_while_training(pico_model, student, run, tmp_path):
    one, teacher = student("xlmr"), pico_model("xlmr")
    whole, _ = made(one, teacher, tmp_path / "whole", replace(run, work=tmp_path / "w", teacher_cache=None))
    (tmp_path / "killed").mkdir()
    asked = one, teacher, tmp_path / "killed", settings("fp16"), read({"hidden": 1, "relations": 1}), run
    assert children.ran(children.doomed, *asked, 2, "teacher") == -signal.SIGKILL
    assert list((tmp_path / "store" / "teacher").glob("*/blocks.jsonl"))
    assert children.ran(children.doomed, *asked, 5, "step") == -signal.SIGKILL
    assert children.ran(children.doomed, *asked, None, "") == 0
    assert (tmp_path / "killed" / "model.safetensors").read_bytes() == whole


def test_two_processes_share_it(pico_model, student, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    asked = settings("fp16", steps=3), read({"hidden": 1})
    found = train(student("xlmr"), pico_model("xlmr"), out, *asked, replace(run, devices=2))
    assert found["steps"] == 3 and found["teacher_outputs_error"] > 0


def test_too_large_is_refused_and_what_was_not_used_for_longest_goes(pico_model, student, run, tmp_path, monkeypatch):
    one, teacher = student("xlmr"), pico_model("xlmr")
    monkeypatch.setenv("NDOGO_TEACHER_CACHE", "0.01MB")
    with pytest.raises(NdogoError, match="the limit is") as refused:
        made(one, teacher, tmp_path / "no", run)
    assert "NDOGO_TEACHER_CACHE" in refused.value.cure
    assert not (tmp_path / "store").exists(), "nothing was begun"
    monkeypatch.setenv("NDOGO_TEACHER_CACHE", "1GB")
    _, numbers = made(one, teacher, tmp_path / "a", replace(run, work=tmp_path / "wa"))
    first = set((tmp_path / "store" / "teacher").glob("*-*"))
    monkeypatch.setenv("NDOGO_TEACHER_CACHE", f"{1.2 * numbers['teacher_outputs_mb']}MB")
    lines = partial(iter, LINES[1:])
    made(one, teacher, tmp_path / "b", replace(run, work=tmp_path / "wb", lines=lines, fingerprint="e" * 64))
    left = {f for f in first if f.exists()}
    assert left < first
    total = sum(f.stat().st_size for f in (tmp_path / "store" / "teacher").rglob("*") if f.name == "values")
    assert total <= 1.2e6 * numbers["teacher_outputs_mb"]
    monkeypatch.setenv("NDOGO_TEACHER_CACHE", "plenty")
    with pytest.raises(NdogoError, match="`plenty` is no size"):
        made(one, teacher, tmp_path / "c", replace(run, work=tmp_path / "wc"))


def test_a_full_disk_is_said_in_words(pico_model, student, run, tmp_path):
    asked = student("xlmr"), pico_model("xlmr"), tmp_path, settings("fp16"), read({"hidden": 1}), run
    assert children.ran(children.refused_by_the_disk, *asked) == 0


def test_masked_text_is_refused_and_the_default_is_in_no_key():
    with pytest.raises(ValidationError, match=r"with mask_probability: 0\.15 it reads other text every time"):
        TrainingSettings(steps=3, teacher_outputs="fp16")
    plain = Distil(objective={"hidden": 1}, steps=3, mask_probability=0)
    assert "teacher_outputs" not in plain.content()
    cached = Distil(objective={"hidden": 1}, steps=3, mask_probability=0, teacher_outputs="fp16")
    assert cached.content() == plain.content() | {"teacher_outputs": "fp16"}


def test_a_value_beyond_fp16_is_refused(tmp_path):
    file = kept.KeptFile(Path(tmp_path) / "x", kept.np.array([0, 2]), 3, "fp16")
    assert file.absent() == [0]
    with pytest.raises(NdogoError, match=r"up to 1e\+05, and fp16 ends at 65504"):
        file.write(0, torch.full((2, 3), 1e5))
    with pytest.raises(NdogoError, match="no numbers"):
        file.write(0, torch.full((2, 3), float("nan")))
    assert file.absent() == [0]


def test_a_step_keeps_it_where_its_context_says(pico_model, student, tmp_path):
    step = Distil(objective={"hidden": 1}, steps=2, mask_probability=0, teacher_outputs="int8", max_length=48)
    text = WeightedLines(partial(iter, LINES), 1.0, "text")
    for arm in (0, 1):
        context = Context(
            texts=(text,), fingerprint="f" * 64, seed=arm, work=tmp_path / f"w{arm}", teacher_cache=tmp_path
        )
        (tmp_path / f"out{arm}").mkdir()
        inputs = {"student": student("xlmr"), "teacher": pico_model("xlmr")}
        assert step.make(inputs, tmp_path / f"out{arm}", context)["teacher_outputs_error"] < 1e-2
        assert not (context.work / "teacher").exists()
    assert len(list((tmp_path / "teacher").glob("*/values"))) == 1, "both arms share it"
