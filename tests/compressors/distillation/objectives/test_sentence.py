"""sentence against its naive version."""

import pytest
import torch

from ndogo.compressors.distillation.maps import LastMap
from ndogo.compressors.distillation.objectives.sentence import Sentence
from tests.compressors.distillation.checks import FAMILIES, check, check_nothing_lost


def naive(objective, s, t, learnt):
    ours = sum(s.last) / len(s.last) @ learnt["last.linear.weight"].T + learnt["last.linear.bias"]
    theirs = sum(t.last) / len(t.last)
    return 1 - (ours @ theirs) / (ours.norm() * theirs.norm())


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(Sentence(), naive, pair(family, **sizes), ragged, divisor="sequences")


def test_nothing_is_lost_on_the_teacher(pair, ragged, monkeypatch):
    start = LastMap.__init__

    def as_identity(self, *given):
        start(self, *given)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(32))
            self.linear.bias.zero_()
        self.double()

    monkeypatch.setattr(LastMap, "__init__", as_identity)
    check_nothing_lost(Sentence(), pair, ragged)
