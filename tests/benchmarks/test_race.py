"""The race's own arm is the recipe that is shipped, number by number; only the lengths of its trainings are the race's."""

from argparse import Namespace

import pytest

from benchmarks.race import LENGTHS, OURS, RACING, SHIPPED, rate_of, recipe
from ndogo.registry.recipes import recipe as find_recipe

ASKED = Namespace(pieces=1000, teacher_pieces=2000, width="")


def numbers(step) -> dict[str, object]:
    return {key: value for key, value in step.model_dump(mode="json").items() if key not in LENGTHS}


def test_the_arm_is_the_file():
    file = [step for step in find_recipe(SHIPPED).steps if step.makes_model]
    raced = recipe("ndogo", ASKED, rate_of("ndogo", "pocket")).steps
    assert [(step.kind, numbers(step)) for step in raced] == [(step.kind, numbers(step)) for step in file]
    assert [step.tokens for step in raced if step.trains] == [2000, 1000]


@pytest.mark.parametrize("profile", ["pocket", "local"])
def test_every_arm_trains_as_the_file_says_but_for_its_own_rate_and_objective(profile):
    (shipped,) = [step for step in find_recipe(SHIPPED).steps if step.kind == "distil"]
    alike = ("batch_size", "max_length", "warmup", "dropout", "weight_decay")
    for arm in (*RACING, *OURS):
        for step in recipe(arm, ASKED, rate_of(arm, profile)).steps:
            if step.kind == "distil":
                assert [getattr(step, key) for key in alike] == [getattr(shipped, key) for key in alike], arm


def test_another_width_is_the_only_change_it_makes():
    wide, narrow = (recipe("ndogo", Namespace(**{**vars(ASKED), "width": w}), 1e-3).steps for w in ("", "1/4"))
    changed = [a.kind for a, b in zip(wide, narrow, strict=True) if numbers(a) != numbers(b)]
    assert changed == ["prune_ffn", "prune_hidden"]
