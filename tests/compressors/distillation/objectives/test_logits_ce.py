"""logits_ce against its naive version."""

import pytest

from ndogo.compressors.distillation.objectives.logits_ce import LogitsCE
from tests.compressors.distillation.checks import NARROW, check
from tests.compressors.distillation.naive import asked, softmax


def naive(objective, s, t, _learnt):
    return -sum(softmax(t.logits[n]) @ softmax(s.logits[n]).log() for n in asked(s, objective.positions))


@pytest.mark.parametrize(("positions", "divisor"), [("masked", "masked"), ("all", "tokens")])
def test_value_and_gradient(positions, divisor, pair, ragged):
    check(LogitsCE(positions=positions), naive, pair("xlmr", **NARROW), ragged, divisor)
