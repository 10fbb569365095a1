"""attention_scores against its naive version."""

import pytest

from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.objectives.attention_scores import AttentionScores
from ndogo.core.architectures import shape_of
from ndogo.core.errors import NdogoError
from tests.compressors.distillation.checks import NARROW, OTHER_HEADS, check, check_nothing_lost


def naive(objective, s, t, _learnt):
    pairs = pairs_of(objective.map, s.layers, t.layers)
    return sum(((s.scores(i) - t.scores(j)) ** 2).sum() / s.heads for i, j in pairs)


def test_value_and_gradient(pair, ragged):
    check(AttentionScores(map="uniform"), naive, pair("xlmr", **NARROW), ragged, "pairs")


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(AttentionScores(map="all"), pair, ragged)


def test_other_heads_are_refused(pair):
    student, teacher = (shape_of(model.config) for model in pair("xlmr", **OTHER_HEADS))
    with pytest.raises(NdogoError, match="head by head"):
        AttentionScores().reads(student, teacher)
