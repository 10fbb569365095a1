"""logits_mse against its naive version."""

import pytest

from ndogo.compressors.distillation.objectives.logits_mse import LogitsMSE
from tests.compressors.distillation.checks import FAMILIES, NARROW, check, check_nothing_lost
from tests.compressors.distillation.naive import asked


def naive(objective, s, t, _learnt):
    return sum(((s.logits[n] - t.logits[n]) ** 2).sum() / len(s.logits[n]) for n in asked(s, objective.positions))


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(LogitsMSE(), naive, pair(family, **sizes), ragged, "masked")


def test_value_and_gradient_at_all_positions(pair, ragged):
    check(LogitsMSE(positions="all"), naive, pair("xlmr", **NARROW), ragged)


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(LogitsMSE(), pair, ragged)
