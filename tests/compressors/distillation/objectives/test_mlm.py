"""mlm against its naive version."""

import pytest

from ndogo.compressors.distillation.objectives.mlm import Mlm
from tests.compressors.distillation.checks import FAMILIES, check
from tests.compressors.distillation.naive import asked, softmax


def naive(_objective, s, _t, _learnt):
    return -sum(softmax(s.logits[n])[s.labels[n]].log() for n in asked(s))


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(Mlm(), naive, pair(family, **sizes), ragged, "masked")
