"""Loading is strict, and knows what published checkpoints carry besides."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ndogo.core.errors import NdogoError
from ndogo.core.models import (
    empty_model,
    encoder_parameters,
    load_config,
    load_model,
    load_tokenizer,
    model_class,
    parameters,
    save,
)


def changed(source: Path, out: Path, change) -> Path:
    out.mkdir()
    for file in source.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    tensors = load_file(out / "model.safetensors")
    change(tensors)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def test_what_is_saved_loads_again_with_tied_weights_counted_once(any_pico: Path, tmp_path: Path):
    model = load_model(any_pico)
    save(model, tmp_path)
    again = load_model(tmp_path)
    assert parameters(again) == parameters(model)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert again.get_input_embeddings().weight.data_ptr() == again.get_output_embeddings().weight.data_ptr()
    assert again.config.vocab_size == len(load_tokenizer(any_pico))


def test_a_pooler_of_pretraining_is_left_behind(pico_model, tmp_path: Path):
    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["roberta.pooler.dense.weight"] = torch.zeros(32, 32)

    assert parameters(load_model(changed(pico_model("xlmr"), tmp_path / "m", add))) == 24672


@pytest.mark.parametrize("fault", ["missing", "unexpected", "mismatched"])
def test_anything_else_that_does_not_fit_is_refused(pico_model, tmp_path: Path, fault: str):
    name = "roberta.encoder.layer.1.output.dense.weight"

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        if fault == "missing":
            del tensors[name]
        elif fault == "unexpected":
            tensors["roberta.encoder.layer.2.output.dense.weight"] = tensors[name].clone()
        else:
            tensors[name] = torch.zeros(3, 3)

    with pytest.raises(NdogoError, match=r"do not fit|cannot be loaded"):
        load_model(changed(pico_model("xlmr"), tmp_path / "m", spoil))


def test_the_encoder_is_counted_with_its_pooler(pico_model):
    config = load_config(pico_model("xlmr"))
    head = 32 * 32 + 32 + 2 * 32 + config.vocab_size
    assert encoder_parameters(config) == parameters(load_model(pico_model("xlmr"))) - head + 32 * 32 + 32


BAD_CONFIGS: dict[str, tuple[object, str]] = {
    "a number": (3, "a table of names"),
    "null": (None, "a table of names"),
    "true": (True, "a table of names"),
    "t5": (
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "classifier_dropout": 0.0},
        "no encoder alone",
    ),
    "type": ({"model_type": ["bert"]}, "model_type is the name"),
    "own code": ({"auto_map": {}}, "code of its own"),
    "labels": ({"num_labels": 10**12}, "num_labels"),
    **{f"padding {number}": ({"pad_token_id": number}, "pad_token_id") for number in (None, True, "1", 1.0)},
    "no class list": ({"architectures": "BertModel"}, "architectures lists names"),
    "decoder": ({"is_decoder": True}, "no encoder alone"),
    **{f"hidden {size}": ({"hidden_size": size}, "hidden_size") for size in (0, 1.5, None, -8, 10**9, "64")},
    "layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
    "words": ({"vocab_size": 10**12}, "vocab_size"),
    "table": ({"id2label": 5}, "cannot be read"),
}
NO_MODELS = (
    "pipeline",
    "AutoConfig",
    "utils",
    "BertTokenizer",
    "__class__",
    "",
    "TrainingArguments",
    "XLMRobertaForCausalLM",
)


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_configuration_that_no_encoder_has_is_refused(name: str, pico_model, tmp_path: Path):
    change, said = BAD_CONFIGS[name]
    good = json.loads((pico_model("xlmr") / "config.json").read_text())
    file = tmp_path / "config.json"
    file.write_text(json.dumps(good | change if isinstance(change, dict) else change))
    with pytest.raises(NdogoError, match=said):
        load_config(file)


@pytest.mark.parametrize("name", NO_MODELS)
def test_a_class_that_is_no_encoder_is_refused(name: str, pico_model):
    config = load_config(pico_model("xlmr"))
    config.architectures = [name]
    with pytest.raises(NdogoError, match=r"has no class|generates text"):
        model_class(config)


@pytest.mark.parametrize("change", [{"hidden_act": "none"}, {"num_attention_heads": 7}])
def test_a_configuration_of_which_no_model_can_be_built_is_refused(
    change: dict[str, object], pico_model, tmp_path: Path
):
    good = json.loads((pico_model("xlmr") / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(good | change))
    with pytest.raises(NdogoError, match="No model can be built"):
        empty_model(load_config(tmp_path / "config.json"))


@pytest.mark.parametrize(
    ("normalizer", "problem"),
    [
        ({"type": "Precompiled", "precompiled_charsmap": "original"}, "shorter than it says"),  # of 4.6 GB
        ({"type": "Precompiled", "precompiled_charsmap": "x"}, "table of replacements"),
        ({"type": "Precompiled"}, "The tokenizer cannot be loaded"),
    ],
)
def test_a_tokenizer_that_its_reader_gives_up_on_is_refused(
    normalizer: dict[str, str], problem: str, pico_model, tmp_path: Path
):
    shutil.copytree(pico_model("xlmr"), tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    raw = json.loads(file.read_text())
    raw["normalizer"] = normalizer
    file.write_text(json.dumps(raw))
    with pytest.raises(NdogoError, match=problem):
        load_tokenizer(tmp_path / "model")
