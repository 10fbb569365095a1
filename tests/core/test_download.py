"""One meaning of MB: 10^6 bytes of weights at one stated type, and of the tokenizer, whatever type a file holds."""

import shutil

import pytest
import torch

from ndogo.core.download import SIZE_TYPE, download_mb, tokenizer_bytes
from ndogo.core.models import copy_tokenizer, load_model, parameters, save
from ndogo.registry.integrity import check_model


def test_weights_and_tokenizer_are_counted_and_nothing_else(pico_model, tmp_path):
    shutil.copytree(pico_model("xlmr"), tmp_path / "model")
    files = sum(
        f.stat().st_size for f in pico_model("xlmr").iterdir() if f.name != "config.json" and "model.s" not in f.name
    )
    (tmp_path / "model" / "certificate.json").write_text("{}" * 10_000)
    assert tokenizer_bytes(tmp_path / "model") == files > 0
    assert download_mb(1_000_000, 500_000) == 4.5 and download_mb(1_000_000, 500_000, "fp16") == 2.5


def test_a_step_that_writes_another_type_makes_no_model_larger(pico_model, tmp_path):
    """A teacher in fp16 and what a later step wrote of it in fp32 have the same shape, and so the same size."""
    model = load_model(pico_model("bert"))
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        save(model.to(dtype), tmp_path / name)
        copy_tokenizer(pico_model("bert"), tmp_path / name)
    sizes = {name: check_model(tmp_path / name).size_mb for name in ("fp32", "fp16")}
    lie = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in sizes}
    assert lie["fp16"] < 0.6 * lie["fp32"]
    expected = (4 * parameters(model) + tokenizer_bytes(pico_model("bert"))) / 1e6
    assert SIZE_TYPE == "fp32" and sizes == dict.fromkeys(sizes, pytest.approx(expected, abs=1e-4))
