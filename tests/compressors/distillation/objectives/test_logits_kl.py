"""logits_kl against its naive version."""

import pytest

from ndogo.compressors.distillation.objectives.logits_kl import LogitsKL
from tests.compressors.distillation.checks import NARROW, check, check_nothing_lost
from tests.compressors.distillation.naive import asked, kl, softmax


def naive(objective, s, t, _learnt):
    total = 0.0
    for n in asked(s, objective.positions):
        p, q = softmax(t.logits[n] / objective.temperature), softmax(s.logits[n] / objective.temperature)
        total = total + objective.temperature**2 * (kl(p, q) if objective.direction == "forward" else kl(q, p))
    return total


@pytest.mark.parametrize(
    ("objective", "divisor"),
    [
        (LogitsKL(temperature=2.0), "masked"),
        (LogitsKL(temperature=1.5, direction="reverse", positions="all"), "tokens"),
    ],
)
def test_value_and_gradient(objective, divisor, pair, ragged):
    check(objective, naive, pair("xlmr", **NARROW), ragged, divisor)


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(LogitsKL(), pair, ragged)
