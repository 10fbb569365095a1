"""One setting says where a process computes; what is not there is refused in words."""

import pytest

from ndogo.core import device
from ndogo.core.errors import NdogoError


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "DRIVERS", ())
    monkeypatch.delenv(device.VARIABLE, raising=False)
    assert device.chosen() == "cpu"
    monkeypatch.setenv(device.VARIABLE, "cuda")
    with pytest.raises(NdogoError, match="no GPU"):
        device.chosen()


def test_another_word_is_refused_with_what_is_allowed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(device.VARIABLE, "tpu")
    with pytest.raises(NdogoError, match="auto, cpu, cuda"):
        device.chosen()
