"""Recipes that are to be compared differ where they shall differ, and nowhere else."""

from typing import Any

import pytest

from ndogo.registry.recipes import recipe
from ndogo.steps.kinds.distil import Distil

SEVEN = {
    "direct": {"direct"},
    "mha": {"relations"},
    "od": {"logits_ce"},
    "hs-last": {"hidden"},
    "hs-uniform": {"hidden"},
    "hs-consecutive": {"hidden"},
    "hs-uniform-last": {"hidden"},
}


def contents(name: str) -> dict[str, dict[str, Any]]:
    """Every step's content, parents and id: all that decides a bundle."""
    found = recipe(name)
    return {step.id: {**step.content(), "parents": step.parents} for step in found.steps}


def differing(one: str, other: str) -> set[tuple[str, str]]:
    """(step, key) where two recipes with the same steps differ."""
    first, second = contents(one), contents(other)
    assert list(first) == list(second)
    return {(step, key) for step in first for key in first[step] if first[step][key] != second[step][key]}


@pytest.mark.parametrize("name", list(SEVEN))
def test_the_seven_share_all_but_the_objective(name: str):
    assert differing("mha", name) <= {("distil", "objective")}
    last = recipe(name).steps[-1]
    assert isinstance(last, Distil) and set(last.objective) == SEVEN[name]


def test_the_seven_objectives_are_seven():
    assert len({str(contents(name)["distil"]["objective"]) for name in SEVEN}) == 7


@pytest.mark.parametrize("name", ["two-step-564", "two-step-456"])
def test_two_step_variants_differ_in_one_number(name: str):
    assert differing("two-step", name) == {("prune_hidden", "size")}
    assert differing("two-step-mbert", name.replace("step", "step-mbert")) == {("prune_hidden", "size")}


def test_mbert_keeps_the_last_layers_and_cuts_another_vocabulary():
    assert differing("two-step", "two-step-mbert") == {("half", "keep"), ("trim", "size")}


def test_comet_trimmed_is_comet_after_a_trim():
    whole, trimmed = contents("comet"), contents("comet-trimmed")
    assert trimmed.pop("trim")["parents"] == {"student": "original"}
    assert trimmed["distil"].pop("parents") == {"student": "fresh", "teacher": "trim"}
    assert whole["distil"].pop("parents") == {"student": "fresh", "teacher": "original"}
    assert {**trimmed["fresh"], "parents": None} == {**whole["fresh"], "parents": None}
    assert trimmed["distil"] == whole["distil"]


def test_our_sizes_differ_in_their_widths():
    """And share their first steps, so that a sweep over them makes those once."""
    assert differing("ndogo-small", "ndogo-tiny") == {("prune_ffn", "size"), ("prune_hidden", "size")}
    small, base = contents("ndogo-small"), contents("ndogo-base")
    assert {name: small[name] for name in ("trim", "adapt", "truncate")} == dict(list(base.items())[:3])
    assert base["distil"]["objective"] == small["distil"]["objective"]
