"""hidden against its naive version."""

import pytest

from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.objectives.hidden import Hidden
from tests.compressors.distillation.checks import FAMILIES, NARROW, check, check_nothing_lost
from tests.compressors.distillation.naive import mse_rows, projected

NOT_THE_LAST = ((1, 1), (1, 2))
"""transformers gives ModernBERT's last state after the final norm, the objective reads the layer's own output."""


def naive(objective, s, t, learnt):
    pairs = [*pairs_of(objective.map, s.layers, t.layers), *([(0, 0)] if objective.embeddings else [])]
    return sum(mse_rows(projected(s.states[i], learnt.get(f"{i}.weight")), t.states[j]) for i, j in pairs)


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(Hidden(map=NOT_THE_LAST, embeddings=True), naive, pair(family, **sizes), ragged)


@pytest.mark.parametrize(
    ("objective", "hidden"),
    [(Hidden(map="uniform-last"), 16), (Hidden(map=((1, 2), (2, 0)), embeddings=True), 32)],
)
def test_value_and_gradient_of_maps(objective, hidden, pair, ragged):
    check(objective, naive, pair("xlmr", **NARROW | {"hidden": hidden}), ragged)


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(Hidden(map="all", embeddings=True), pair, ragged)
