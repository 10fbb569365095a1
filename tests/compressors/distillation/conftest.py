"""A student and a teacher of every family in float64, and a ragged batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ndogo.compressors.distillation.batches import Denominators, GlobalBatch
from ndogo.core.architectures import with_shape
from ndogo.core.models import load_model
from tests.compressors.distillation import naive


@pytest.fixture(autouse=True)
def one_thread():
    """Pico models are slower on two threads, much slower where others compute too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pair(pico_model):
    """`pair(family, hidden=, layers=, heads=)`: teacher from the pico directory, a random student of another shape."""

    def make(family, **sizes):
        teacher = load_model(pico_model(family))
        torch.manual_seed(7)
        student = type(teacher)(with_shape(teacher.config, **sizes))
        for model in (student, teacher):  # wide enough that every softmax has a shape
            for parameter in model.parameters():
                parameter.data.add_(torch.randn_like(parameter) * 0.2)
        return naive.double(student), naive.double(teacher).requires_grad_(False)

    return make


@pytest.fixture
def ragged():
    """Five sequences of 3 to 11 tokens, padded; about a third to be predicted."""
    random = np.random.default_rng(3)
    lengths = np.array([3, 5, 6, 9, 11])
    real = np.arange(12) < lengths[:, None]
    ids = np.where(real, random.integers(5, 90, (5, 12)), 1)
    labels = np.where(real & (random.random((5, 12)) < 0.35), random.integers(5, 90, (5, 12)), -100)
    batch = GlobalBatch(np.arange(5), ids, real, labels)
    assert batch.denominators == Denominators(
        int(lengths.sum()), int((labels != -100).sum()), int((lengths**2).sum()), 5
    )
    sequences = [
        SimpleNamespace(ids=torch.tensor(ids[i, :n]), labels=torch.tensor(labels[i, :n])) for i, n in enumerate(lengths)
    ]
    return SimpleNamespace(batch=batch, denominators=batch.denominators, sequences=sequences)
