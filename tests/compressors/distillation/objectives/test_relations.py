"""relations against its naive version."""

import math

import pytest
import torch

from ndogo.compressors.distillation.objectives.relations import Relations
from ndogo.core.architectures import shape_of
from ndogo.core.errors import NdogoError
from tests.compressors.distillation.checks import FAMILIES, NARROW, OTHER_HEADS, check, check_nothing_lost
from tests.compressors.distillation.naive import kl, softmax


def naive(heads):
    def total(objective, s, t, _learnt):
        found, taught = 0.0, objective.teacher_layer % (t.layers + 1) if objective.teacher_layer else t.layers
        weights = (objective.q, objective.k, objective.v)
        for weight, a, b in zip(weights, s.qkv(s.layers), t.qkv(taught), strict=True):
            for h in range(heads):
                da, db = a.shape[-1] // heads, b.shape[-1] // heads
                x, y = a[:, h * da : (h + 1) * da], b[:, h * db : (h + 1) * db]
                for n in range(len(x)):
                    ours = softmax(torch.stack([x[n] @ x[m] / math.sqrt(da) for m in range(len(x))]))
                    theirs = softmax(torch.stack([y[n] @ y[m] / math.sqrt(db) for m in range(len(y))]))
                    found = found + weight * kl(theirs, ours) / heads
        return found

    return total


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    student, teacher = pair(family, **sizes)
    heads = shape_of(teacher.config).heads  # both widths are multiples of it
    check(Relations(), naive(heads), (student, teacher), ragged)


def test_value_and_gradient_of_other_heads_and_layers(pair, ragged):
    objective = Relations(q=0.5, k=0, v=1.5, heads=8, teacher_layer=-2)
    check(objective, naive(8), pair("xlmr", **OTHER_HEADS), ragged)


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(Relations(), pair, ragged)


def test_heads_must_divide_both_widths(pair):
    student, teacher = (shape_of(model.config) for model in pair("xlmr", **NARROW))
    with pytest.raises(NdogoError, match="3 relation heads"):
        Relations(heads=3).reads(student, teacher)
    assert Relations().relation_heads(student, teacher) == 4


def test_something_must_be_compared():
    with pytest.raises(ValueError, match="one of q, k and v"):
        Relations(q=0, k=0, v=0)
