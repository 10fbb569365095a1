"""hidden against its naive version."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

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


def standardised(objective, s, t, learnt):
    """Maps not settled yet: mean 0, spread 1; the deepest pair reads the final outputs."""
    total = 0.0
    for (i, j), weight in objective._weights(*(SimpleNamespace(layers=m.layers) for m in (s, t))).items():
        name = "last" if (i, j) == (s.layers, t.layers) else f"{i}-{j}"
        ours, theirs = (m.last if at == m.layers else m.states[at] for m, at in ((s, i), (t, j)))
        mapped = ours @ learnt[f"{name}.linear.weight"].T + learnt[f"{name}.linear.bias"]
        total = total + weight * mse_rows(mapped, theirs)
    return total


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
def test_standardised_value_and_gradient(family, sizes, pair, ragged):
    objective = Hidden(standardise=True, depths={"1/2": 0.5, "1": 2})
    check(objective, standardised, pair(family, **sizes), ragged)


@pytest.mark.parametrize("depths", [{"1.5": 1}, {"half": 1}, {"1/2": 0}, {"1/0": 1}, [1]])
def test_a_depth_is_a_share_with_a_weight(depths):
    with pytest.raises(ValidationError, match="depth"):
        Hidden(depths=depths)


def test_new_fields_leave_the_key_of_old_recipes():
    assert set(Hidden().model_dump(mode="json")) == {"weight", "map", "embeddings"}
