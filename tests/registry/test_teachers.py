"""Teachers as people have them: pickled, in shards, with old keys, with a head, with what other libraries keep beside them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from ndogo.core.directories import check_model_directory
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer
from ndogo.core.text import WeightedLines
from ndogo.registry.bundles import open_store
from ndogo.registry.languages import check_teacher, language
from ndogo.registry.teachers import weights
from ndogo.steps.kinds.prune_hidden import PruneHidden
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.step import Context, make
from tests import pico


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def teacher(tmp_path: Path, pico_model: Callable[[str], Path]) -> Path:
    return Path(shutil.copytree(pico_model("xlmr"), tmp_path / "teacher"))


def found(folder: Path) -> Path:
    return weights(str(folder), language("swahili"), "local")


def pickled(folder: Path, **extra: torch.Tensor) -> Path:
    """The same teacher with pickled weights, and keys that old checkpoints carry."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors | extra, folder / "pytorch_model.bin")
    return folder


def test_pickled_weights_are_converted_once_with_their_head(teacher: Path, cache: Path):
    before = load_model(teacher).state_dict()
    old = {
        "roberta.embeddings.position_ids": torch.arange(66)[None],
        "roberta.pooler.dense.weight": torch.ones(32, 32),
        "roberta.pooler.dense.bias": torch.ones(32),
    }
    made = found(pickled(teacher, **old))
    assert cache in made.parents
    after = load_model(made).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(load_tokenizer(made)) == len(load_tokenizer(teacher))
    stamp = (made / "model.safetensors").stat().st_mtime_ns
    assert found(teacher) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == stamp
    assert open_store().adopt(made).step == "original"


def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(teacher: Path, tmp_path: Path, cache: Path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "it-ran"),))

    (teacher / "model.safetensors").unlink()
    torch.save({"a": Evil()}, teacher / "pytorch_model.bin")
    with pytest.raises(NdogoError, match="ask for code to be run, which is never done"):
        found(teacher)
    assert not (tmp_path / "it-ran").exists()
    assert not list(cache.rglob("config.json"))


def test_the_refusal_of_a_pickle_names_a_command_that_keeps_the_head(teacher: Path):
    before = load_model(teacher).state_dict()
    with pytest.raises(NdogoError, match="pickled") as refused:
        check_model_directory(pickled(teacher))
    code = str(refused.value).split('python -c "')[1].split('"')[0]
    exec(code, {})
    after = load_model(teacher).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_shards_are_adopted_whole(teacher: Path):
    whole = load_model(teacher)
    whole.save_pretrained(teacher, max_shard_size="20KB")
    (teacher / "model.safetensors").unlink(missing_ok=True)
    assert len(list(teacher.glob("*.safetensors"))) > 2
    store = open_store()
    loaded = load_model(store.path(store.adopt(found(teacher)))).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in whole.state_dict().items())


def test_a_fine_tuned_head_stays(teacher: Path, tmp_path: Path):
    labels = {0: "O", 1: "B-PER", 2: "I-PER"}
    tuned = AutoModelForTokenClassification.from_pretrained(teacher, num_labels=3, id2label=labels)
    tuned.save_pretrained(teacher)
    store = open_store()
    adopted = store.path(store.adopt(found(teacher)))
    out = tmp_path / "trimmed"
    out.mkdir()
    make(Trim(coverage=0.9), {"student": adopted}, out, context())
    small = load_model(out)
    assert small.config.id2label == labels
    assert torch.equal(small.classifier.weight, tuned.classifier.weight)


def context() -> Context:
    return Context(texts=(WeightedLines(lambda: iter(pico.TEXT), 1.0, "text"),))


def sentence_model(folder: Path, *, dense: bool = False) -> Path:
    """The files of a sentence-transformers repository beside the model."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    files = {"sentence_bert_config.json": {"max_seq_length": 60}, "1_Pooling/config.json": pooling}
    if dense:
        modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
        files["2_Dense/config.json"] = {"in_features": 32, "out_features": 8}
    for name, content in {"modules.json": modules, **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    if dense:
        (folder / "2_Dense" / "model.safetensors").write_bytes(b"weights")
    return folder


def test_what_sentence_transformers_keeps_stays_all_the_way(teacher: Path, tmp_path: Path):
    store = open_store()
    adopted = store.path(store.adopt(found(sentence_model(teacher))))
    trimmed, cut = tmp_path / "trimmed", tmp_path / "cut"
    for folder in (trimmed, cut):
        folder.mkdir()
    make(Trim(coverage=0.9), {"student": adopted}, trimmed, context())
    make(PruneHidden(size=16, select="first"), {"student": trimmed}, cut, context())
    assert json.loads((cut / "modules.json").read_text())[1]["path"] == "1_Pooling"
    assert json.loads((cut / "1_Pooling" / "config.json").read_text())["word_embedding_dimension"] == 16
    assert json.loads((trimmed / "1_Pooling" / "config.json").read_text())["word_embedding_dimension"] == 32
    assert (cut / "sentence_bert_config.json").is_file()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_never_run(teacher: Path, tmp_path: Path, file: str):
    content = json.loads((teacher / file).read_text())
    key = "AutoModelForMaskedLM" if file == "config.json" else "AutoTokenizer"
    content["auto_map"] = {key: "evil.Evil" if file == "config.json" else [None, "evil.Evil"]}
    if file == "tokenizer_config.json":
        content["tokenizer_class"] = "Evil"
    (teacher / file).write_text(json.dumps(content))
    (teacher / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'it-ran')!r})\nclass Evil: ...\n")
    try:
        check_teacher(found(teacher))
        said = ""
    except NdogoError as error:
        said = str(error)
    assert not (tmp_path / "it-ran").exists()
    assert "code of its own" in said or (file == "tokenizer_config.json" and "trust_remote_code" not in said)
