"""cosine against its naive version."""

import pytest

from ndogo.compressors.distillation.objectives.cosine import Cosine
from tests.compressors.distillation.checks import FAMILIES, check, check_nothing_lost
from tests.compressors.distillation.naive import projected


def naive(_objective, s, t, learnt):
    ours = projected(s.last, learnt.get("last.weight"))
    return sum(1 - (a @ b) / (a.norm() * b.norm()) for a, b in zip(ours, t.last, strict=True))


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(Cosine(), naive, pair(family, **sizes), ragged)


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(Cosine(), pair, ragged)
