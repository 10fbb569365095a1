"""What people load embedding models with reads ours, and makes the vectors that we make."""

from functools import partial
from pathlib import Path

import pytest
import torch

from ndogo.core.models import load_model, load_tokenizer
from ndogo.core.sentences import read_vectors
from ndogo.core.text import WeightedLines
from ndogo.core.vectors import pool, read_dense
from ndogo.steps.step import Context, kinds, make
from tests import pico

sentence_transformers = pytest.importorskip("sentence_transformers")
TEXTS = pico.TEXT[:7]
LOSSES = {"hidden": {"standardise": True, "depths": {"1": 1}}, "similarity": 0.5}


@torch.no_grad()
def ours(folder: Path, prefix: str) -> torch.Tensor:
    model, tokenizer, said = load_model(folder), load_tokenizer(folder), read_vectors(folder)
    batch = tokenizer(
        [prefix + text for text in TEXTS], padding=True, truncation=True, max_length=60, return_tensors="pt"
    )
    states = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    vectors = read_dense(folder, said)(pool(states, batch["attention_mask"].bool(), said.pooling))
    return torch.nn.functional.normalize(vectors, dim=-1) if said.normalize else vectors


def run(kind: str, fields: dict, out: Path, **inputs: Path) -> Path:
    out.mkdir(parents=True)
    text = WeightedLines(partial(iter, pico.TEXT))
    context = Context(texts=(text,), fingerprint="f", work=out.parent / kind, threads=1)
    make(kinds()[kind](**fields), inputs, out, context)
    return out


@pytest.mark.parametrize("space", ["teacher", "own"])
@pytest.mark.parametrize("family", ["bert", "xlmr"])
def test_a_student_is_loaded_and_its_vectors_are_ours(family, space, pico_model, tmp_path):
    teacher = pico.embedder(pico_model(family), tmp_path / "teacher", dense=12)
    trimmed = run("trim", {"size": "9/10"}, tmp_path / "trimmed", student=teacher)
    narrow = run("prune_hidden", {"size": 16, "sentences": 9}, tmp_path / "narrow", student=trimmed)
    training = {"steps": 3, "max_length": 48, "windows": [8, 20], "batch_tokens": 200, "mask_probability": 0}
    asked = {"objective": LOSSES | {"sentence": {"space": space}}} | training
    student = run("distil", asked, tmp_path / "student", student=narrow, teacher=trimmed)
    for folder, width in ((teacher, 12), (narrow, 12), (student, 12 if space == "teacher" else 16)):
        loaded = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        assert loaded.prompts["query"] == "query: " and loaded.get_embedding_dimension() == width
        for prefix, name in (("", None), ("query: ", "query")):
            found = loaded.encode(TEXTS, prompt_name=name, convert_to_tensor=True)
            torch.testing.assert_close(found, ours(folder, prefix), rtol=1e-5, atol=1e-5)
            assert found.norm(dim=-1).allclose(torch.ones(7)) and found.shape == (7, width)
