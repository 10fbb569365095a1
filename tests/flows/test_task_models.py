"""A task model on the pocket world, from an encoder to an export: flow, MLflow, its own answers, and where its words stand."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from prefect.testing.utilities import prefect_test_harness
from transformers import AutoModelForTokenClassification, AutoTokenizer, PreTrainedModel

import ndogo_run
from ndogo import api, figures, pocket
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_config, load_model, model_class, save
from ndogo.core.task_heads import with_task
from ndogo.core.text import read_lines
from ndogo.flows.compress import compress
from ndogo.registry.bundles import open_store
from ndogo.registry.model_registry import client
from ndogo.steps.kinds.export import Export
from ndogo.tasks.run_record import RUNS, RunRecord
from ndogo_run.words import first_tokens, joined, words_of

RECIPE = """
name: pocket-ner
evaluate: ends
steps:
  - finetune: {benchmark: ner, learning_rates: [8.0e-4], epochs: 2}
  - trim: {coverage: 0.999}
  - truncate: {layers: 1/2, keep: stride-last}
  - prune_hidden: {size: 1/2, select: pca, heads: shrink, sentences: 20}
  - distil:
      teacher: trim
      objective: {task_logits: 1.0, hidden: {standardise: true, depths: {1: 1.0}}}
      steps: 30
      batch_size: 32
      max_length: 32
      learning_rate: 2.0e-3
      mask_probability: 0
      dropout: 0
  - export: {dtype: fp32, lines: 8}
"""
Spans = list[tuple[int, int, str]]


def spans_of(folder: Path) -> Callable[[str], Spans]:
    """How PyTorch tags a line: words joined by spaces, a word's first token decides, places are those of the line itself."""
    model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def tag(line: str) -> Spans:
        places = words_of(line)
        words = [line[start:end] for start, end in places]
        found = tokenizer(
            " ".join(words), return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt"
        )
        marks, offsets = found["special_tokens_mask"][0].tolist(), found["offset_mapping"][0].tolist()
        offsets = [(0, 0) if special else tuple(offset) for special, offset in zip(marks, offsets, strict=True)]
        best = model(input_ids=found["input_ids"]).logits[0].argmax(-1).tolist()
        firsts = first_tokens(words, offsets)
        labels = [model.config.id2label[best[first]] if first >= 0 else "O" for first in firsts]
        return [(places[first][0], places[last][1], kind) for first, last, kind in joined(labels)]

    return tag


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_from_an_encoder_to_an_exported_task_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "pocket-ner.yaml"
    file.write_text(RECIPE)
    with prefect_test_harness(server_startup_timeout=120):
        run = compress("swahili", str(file))
    store = open_store()
    record = store.read_record(RUNS, run, RunRecord)
    assert record is not None and record.state == "COMPLETED" and list(record.evaluations) == ["finetune", "distil"]
    assert record.run["settings"]["mode"] == "own"  # type: ignore[index, call-overload]
    made = store.path(record.steps["distil"].key)
    config = json.loads((made / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaForTokenClassification"] and config["id2label"]["1"].startswith("B-")
    numbers = record.summary
    assert numbers["compression_ratio"] > 4 and 0 < numbers["ner"] <= 1 and numbers["retention_ner"] > 0
    assert 0 < numbers["agreement_entity_f1"] <= numbers["agreement"] <= 1
    assert record.mlflow.parent is not None
    logged = client(store).get_run(record.mlflow.parent.run_id).data.metrics
    assert {name: logged[name] for name in ("ner", "agreement")} == {n: numbers[n] for n in ("ner", "agreement")}
    exported, tag = store.path(record.steps["export"].key), spans_of(made)
    lines = list(pocket.held_out("swahili", 200))
    found = [tag(line) for line in lines]
    assert sum(map(len, found)) > 100
    model = ndogo_run.load(exported, threads=1)
    assert [[(s.start, s.end, s.label) for s in model.tag(line)] for line in lines] == found
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    figures.keep(record.name, "kept")
    shown = figures.written(
        "<!-- result: kept steps -->\nold\n<!-- end -->\n<!-- result: kept sentences -->\n<!-- end -->"
    )
    assert "\ndistil " in shown and "- distil retains " in shown and "old" not in shown
    with pytest.raises(NdogoError, match="No finished run"):
        figures.keep("nobody", "kept")


@pytest.mark.real
def test_offsets_are_the_same_in_pytorch_and_in_the_file_on_200_real_lines(shared: Path, tmp_path: Path):
    config = with_task(load_config(shared / "teacher"), "token", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    model = model_class(config)._from_config(config)  # type: ignore[attr-defined]
    body = load_model(shared / "teacher").base_model
    model.base_model.load_state_dict(body.state_dict())
    torch.nn.init.normal_(model.get_parameter("classifier.weight"), generator=torch.Generator().manual_seed(0))
    save(model, tmp_path / "tagger")
    copy_tokenizer(shared / "teacher", tmp_path / "tagger")
    api.make(Export(dtype="fp32", lines=8), {"student": tmp_path / "tagger"}, tmp_path / "out")
    exported, tag = ndogo_run.load(tmp_path / "out", threads=1), spans_of(tmp_path / "tagger")
    lines = list(islice(read_lines(shared / "data" / "text" / "swa.txt.gz"), 200))
    found = [tag(line) for line in lines]
    assert sum(map(len, found)) > 1000
    assert [[(s.start, s.end, s.label) for s in exported.tag(line)] for line in lines] == found
