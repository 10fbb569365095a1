"""direct against its naive version."""

import pytest

from ndogo.compressors.distillation.objectives.direct import Direct
from ndogo.core.architectures import shape_of
from ndogo.core.errors import NdogoError
from tests.compressors.distillation.checks import FAMILIES, NARROW, check, check_nothing_lost
from tests.compressors.distillation.naive import mse_rows, projected


def naive(objective, s, t, learnt):
    parts = zip("qkv", s.qkv(s.layers), t.qkv(objective.teacher_layer or t.layers), strict=True)
    return sum(mse_rows(projected(a, learnt.get(f"{key}.weight")), b) for key, a, b in parts)


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_value_and_gradient(family, sizes, pair, ragged):
    check(Direct(), naive, pair(family, **sizes), ragged)


def test_value_and_gradient_of_another_layer(pair, ragged):
    check(Direct(teacher_layer=1), naive, pair("xlmr", **NARROW), ragged)


def test_nothing_is_lost_on_the_teacher(pair, ragged):
    check_nothing_lost(Direct(), pair, ragged)


def test_a_layer_that_is_not_there_is_refused(pair):
    student, teacher = (shape_of(model.config) for model in pair("xlmr", **NARROW))
    with pytest.raises(NdogoError, match="no layer 9") as raised:
        Direct(teacher_layer=9).reads(student, teacher)
    assert raised.value.where == "objective: direct: teacher_layer"
