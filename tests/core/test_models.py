"""Loading is strict, and knows what published checkpoints carry besides."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ndogo.core.errors import NdogoError
from ndogo.core.models import encoder_parameters, load_config, load_model, load_tokenizer, parameters, save


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
