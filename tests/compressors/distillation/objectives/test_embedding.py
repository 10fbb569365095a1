"""embedding against its naive version."""

import pytest

from ndogo.compressors.distillation.objectives.embedding import Embedding
from tests.compressors.distillation.checks import FAMILIES, check, check_nothing_lost
from tests.compressors.distillation.naive import mse_rows, projected


def naive(_objective, s, t, learnt):
    return mse_rows(projected(s.states[0], learnt.get("embeddings.weight")), t.states[0])


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(Embedding(), naive, pair(family, **sizes), ragged)


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(Embedding(), pair, ragged)
