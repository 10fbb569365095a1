"""attention_maps against its naive version."""

import pytest
import torch

from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.objectives.attention_maps import AttentionMaps
from ndogo.core.architectures import shape_of
from ndogo.core.errors import NdogoError
from tests.compressors.distillation.checks import FAMILIES, NARROW, OTHER_HEADS, check, check_nothing_lost


def naive(objective, s, t, learnt):
    total = 0.0
    for i, j in pairs_of(objective.map, s.layers, t.layers):
        weight = learnt.get(str(i))
        ours, theirs = s.attentions[i - 1], t.attentions[j - 1]
        size = ours.shape[-1]
        if objective.projection == "head_mix":
            ours = torch.stack([sum(weight[o, k] * ours[k] for k in range(len(ours))) for o in range(len(weight))])
        if objective.heads == "mean":
            ours, theirs = ours.mean(0, keepdim=True), theirs.mean(0, keepdim=True)
        if objective.projection == "per_row":
            ours = torch.stack([m @ weight[:size, :size].T for m in ours])
        total = total + ((ours - theirs) ** 2).sum() / len(theirs)
    return total


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(AttentionMaps(map="uniform"), naive, pair(family, **sizes), ragged, "pairs")


@pytest.mark.parametrize(
    ("objective", "sizes"),
    [
        (AttentionMaps(), OTHER_HEADS),
        (AttentionMaps(map="uniform", heads="each"), NARROW),
        (AttentionMaps(heads="each", projection="head_mix"), OTHER_HEADS),
        (AttentionMaps(projection="per_row"), NARROW),
    ],
)
def test_value_and_gradient_of_every_reading(objective, sizes, pair, ragged):
    check(objective, naive, pair("xlmr", **sizes), ragged, "pairs")


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(AttentionMaps(), pair, ragged)


def test_heads_that_cannot_be_compared_are_refused(pair):
    student, teacher = (shape_of(model.config) for model in pair("xlmr", **OTHER_HEADS))
    with pytest.raises(NdogoError, match="one by one"):
        AttentionMaps(heads="each").reads(student, teacher)
