"""A fine-tuned model keeps its head and its labels through all cuts, directory by directory."""

import pytest
import torch

from ndogo.core.models import copy_tokenizer, load_model, save
from ndogo.steps.kinds.prune_ffn import PruneFfn
from ndogo.steps.kinds.prune_hidden import PruneHidden
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.kinds.truncate import Truncate
from tests.compressors.cases import answer, lines, made, model_of

LABELS = {0: "hasi", 1: "wastani", 2: "chanya"}


@pytest.mark.parametrize("kind", ["sequence", "token", "bare"])
@pytest.mark.parametrize("family", ["xlmr", "bert", "distilbert", "modernbert", "eurobert"])
def test_task_heads_go_through_all_cuts(pico_model, tmp_path, family, kind):
    model = model_of(pico_model(family), kind, layers=4)
    if kind != "bare":
        model.config.id2label, model.config.label2id = LABELS, {name: number for number, name in LABELS.items()}
        model = type(model)(model.config).eval()
    source = tmp_path / "source"
    save(model, source)
    copy_tokenizer(pico_model(family), source)
    for step in (
        Trim(coverage=0.9),
        Truncate(layers=2, keep="importance"),
        PruneFfn(size=40, importance="self", sentences=9),
        PruneHidden(size=24, select="pca", heads="drop", sentences=9),
    ):
        out = tmp_path / step.kind
        out.mkdir()
        made(step, source, out, lines)
        source = out
    student = load_model(source)
    assert type(student) is type(model) and student.config.hidden_size == 24
    assert answer(student).isfinite().all()
    if kind != "bare":
        assert student.config.id2label == LABELS and answer(student).shape[-1] == 3
        assert not torch.equal(answer(student)[0], answer(student)[-1])
