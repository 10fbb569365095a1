"""Embedding models: bare encoders without pooler and head, in a sentence-transformers folder, through every cut and the store."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ndogo.core.architectures import has_lm_head, shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import has_pooler, load_config, load_model, parameters
from ndogo.core.sentences import read_vectors
from ndogo.core.text import WeightedLines
from ndogo.core.vectors import pool, read_dense
from ndogo.registry.bundles import Store
from ndogo.registry.integrity import check_model
from ndogo.registry.teachers import teacher
from ndogo.steps.plan import Facts, plan
from ndogo.steps.recipe import parse_recipe
from ndogo.steps.step import Context, kinds, make
from tests import pico

CUTS = {
    "trim": {"size": "9/10"},
    "truncate": {"layers": "1/2", "keep": "importance", "importance": "loss"},
    "prune_ffn": {"size": "1/2", "importance": "taylor", "sentences": 9},
    "prune_hidden": {"size": 16, "select": "pca", "sentences": 9},
    "fresh": {"layers": 1, "hidden": 16, "ffn": 24, "heads": 2},
}


def made(kind: str, fields: dict, source: Path, out: Path) -> dict:
    out.mkdir(parents=True)
    context = Context(texts=(WeightedLines(partial(iter, pico.TEXT)),), work=out.parent / "work", threads=1)
    return make(kinds()[kind](**fields), {"student": source}, out, context)


@pytest.fixture(params=["xlmr", "bert", "roberta", "distilbert"])
def embedder(request, pico_model, tmp_path) -> Path:
    return pico.embedder(pico_model(request.param), tmp_path / "teacher", dense=12)


@pytest.mark.parametrize("kind", CUTS)
def test_a_bare_encoder_goes_through_every_cut_and_keeps_how_its_vectors_are_made(kind, embedder, tmp_path):
    out = tmp_path / "out"
    numbers = made(kind, CUTS[kind], embedder, out)
    assert not has_pooler(out) and check_model(out).params == parameters(load_model(out))
    guide = teacher(str(embedder))
    text = f"name: x\nsteps:\n  - {kind}: {json.dumps(CUTS[kind])}"
    planned = plan(parse_recipe(text), guide.config, guide.specials, facts=Facts(pooler=guide.pooler))
    assert not guide.pooler and [row.head for row in planned] == [False, False]
    assert planned[-1].params == parameters(load_model(out))
    vectors, width = read_vectors(out), shape_of(load_config(out)).hidden
    pooling = json.loads((out / "1_Pooling" / "config.json").read_text())
    assert (
        pooling["word_embedding_dimension"] == width and vectors.normalize and vectors.prompts == {"query": "query: "}
    )
    assert vectors.dense == (() if kind == "fresh" else ("2_Dense",)) and bool(numbers.get("dense_dropped")) == (
        kind == "fresh"
    )
    states = torch.randn(2, 5, width)
    pooled = pool(states, torch.ones(2, 5, dtype=torch.bool), vectors.pooling)
    assert read_dense(out, vectors)(pooled).shape == (2, width if kind == "fresh" else 12)


def test_the_dense_layer_reads_the_channels_that_stayed(pico_model, tmp_path):
    source = pico.embedder(pico_model("bert"), tmp_path / "teacher", dense=12)
    made("prune_hidden", {"size": 16, "select": "first"}, source, tmp_path / "first")
    made("prune_hidden", {"size": 32, "select": "pca", "sentences": 9}, source, tmp_path / "whole")
    before = load_file(source / "2_Dense" / "model.safetensors")
    first = load_file(tmp_path / "first" / "2_Dense" / "model.safetensors")
    assert torch.equal(first["linear.weight"], before["linear.weight"][:, :16])
    assert json.loads((tmp_path / "first" / "2_Dense" / "config.json").read_text())["in_features"] == 16
    with torch.no_grad():  # at full width pca only puts the channels into another order
        ids = torch.arange(5, 25)[None]
        real = torch.ones_like(ids, dtype=torch.bool)
        answers = []
        for folder in (source, tmp_path / "whole"):
            states = load_model(folder).base_model(input_ids=ids).last_hidden_state
            answers.append(read_dense(folder, read_vectors(folder))(pool(states, real, "mean")))
    torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-3)


def test_the_store_adopts_the_whole_folder(pico_model, tmp_path):
    source = pico.embedder(pico_model("xlmr"), tmp_path / "teacher", dense=12)
    store = Store(tmp_path / "store")
    kept = store.path(store.adopt(source))
    for name in ("modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors", "sentence_bert_config.json"):
        assert (kept / name).read_bytes() == (source / name).read_bytes()
    assert store.details(kept.name).numbers.params_dense == 12 * 33
    (source / "2_Dense" / "config.json").write_text("{}")
    assert store.adopt(source).key != kept.name


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("adapt: {epochs: 1}", "Leave adapt out"),
        ("distil: {objective: {mlm: 1}, epochs: 1}", "The objective `mlm` needs a masked-LM head"),
        (
            "distil: {objective: {hidden: 1, logits_kl: 1}, epochs: 1}",
            "The objective `logits_kl` needs a masked-LM head",
        ),
    ],
)
def test_what_needs_a_head_is_refused_in_the_plan(step, said, pico_model, tmp_path):
    guide = teacher(str(pico.embedder(pico_model("bert"), tmp_path / "teacher")))
    with pytest.raises(NdogoError, match=said):
        plan(parse_recipe(f"name: x\nsteps:\n  - {step}"), guide.config, guide.specials, scaled=True)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("modules.json", "[]", "no list of modules"),
        ("modules.json", '[{"idx": 0, "path": "../x", "type": "a.Pooling"}]', "no list of modules"),
        ("modules.json", "{", "not JSON"),
        ("modules.json", '[{"path": "", "type": "a.LSTM"}]', "`LSTM`"),
        ("1_Pooling/config.json", '{"pooling_mode": ["mean", "max"]}', "mean, max"),
        ("1_Pooling/config.json", '{"pooling_mode_lasttoken": true}', "pooling_mode_lasttoken"),
    ],
)
def test_a_folder_that_is_not_understood_is_refused(file, content, said, pico_model, tmp_path):
    source = pico.embedder(pico_model("bert"), tmp_path / "teacher")
    (source / file).write_text(content)
    with pytest.raises(NdogoError, match=said):
        read_vectors(source)


def test_pooling_leaves_padding_out():
    states = torch.tensor([[[1.0, 5.0], [3.0, 1.0], [90.0, 90.0]]])
    real = torch.tensor([[True, True, False]])
    assert pool(states, real, "mean").tolist() == [[2.0, 3.0]]
    assert pool(states, real, "max").tolist() == [[3.0, 5.0]]
    assert pool(states, real, "cls").tolist() == [[1.0, 5.0]]


def test_a_head_is_fitted_on_an_encoder_that_stays_as_it_is(embedder, tmp_path):
    fields = {"head_only": True, "steps": 30, "batch_size": 8, "max_length": 32, "learning_rate": 1e-2}
    out = tmp_path / "out"
    out.mkdir()
    held_out = partial(iter, pico.TEXT[:8])
    texts = (WeightedLines(partial(iter, pico.TEXT)),)
    context = Context(texts=texts, held_out=held_out, work=tmp_path / "work", threads=1)
    numbers = make(kinds()["adapt"](**fields), {"student": embedder}, out, context)
    before, after = load_model(embedder), load_model(out)
    assert has_lm_head(after) and not has_lm_head(before)
    body = after.base_model.state_dict()
    assert all(torch.equal(body[name], tensor) for name, tensor in before.base_model.state_dict().items())
    assert numbers["held_out_loss"] < numbers["first_held_out_loss"]
    assert read_vectors(out) == read_vectors(embedder), "its vectors are made as before"
    guide = teacher(str(embedder))
    then = {"teacher": "adapt", "objective": {"logits_kl": 1}, "steps": 1, "max_length": 32}
    text = f"name: x\nsteps:\n  - adapt: {json.dumps(fields)}\n  - distil: {json.dumps(then)}"
    planned = plan(parse_recipe(text), guide.config, guide.specials, facts=Facts(pooler=guide.pooler))
    assert [row.head for row in planned] == [False, True, True]
    assert planned[1].params == parameters(after)


def test_without_head_only_a_bare_encoder_is_refused_with_the_cure(embedder):
    guide = teacher(str(embedder))
    with pytest.raises(NdogoError, match="head_only"):
        plan(parse_recipe("name: x\nsteps:\n  - adapt: {steps: 1}"), guide.config, guide.specials)
