"""Baselines are steps beside the recipe's own: what is shared is shared, what is added has the small model's shape."""

from pathlib import Path
from typing import Any

import pytest

from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, parameters
from ndogo.core.progress import silent
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.baselines import with_baselines
from ndogo.tasks.publication import roles_of
from ndogo.tasks.run import Run, planned
from ndogo.tasks.steps import find_or_make
from tests import tiny

TRAINING = "steps: 3, batch_size: 4, max_length: 32"
OURS = f"""
name: ours
steps:
  - trim: {{size: 120}}
  - adapt: {{{TRAINING}}}
  - truncate: {{layers: 1}}
  - prune_hidden: {{size: 1/2, select: magnitude}}
  - distil: {{teacher: adapt, objective: {{logits_kl: 1}}, {TRAINING}}}
"""
PAPERS = f"name: papers\nsteps:\n  - adapt: {{{TRAINING}}}\n  - truncate: {{layers: 1}}\n  - trim: {{size: 120}}"


@pytest.fixture
def run(pico_model, tmp_path: Path) -> Any:
    """A run of a recipe's text whose own steps are all made."""
    text, _ = tiny.write(tmp_path / "tiny")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(pico_model("xlmr"))))

    return lambda recipe: made(tiny.run_of(parse_recipe(recipe), pico_model("xlmr")))


def made(run: Run) -> Run:
    for name in run.requests():
        find_or_make(run, name, silent)
    return run


def test_baselines_have_the_shape_and_the_reading_of_the_recipe(run):
    own = run(OURS)
    both = made(with_baselines(own))
    assert both.recipe.last == own.recipe.last
    assert {name: both.requests()[name].key for name in own.requests()} == {
        name: request.key for name, request in own.requests().items()
    }, "the recipe's own bundles are the same"
    roles = {role: name for name, role in roles_of(both).items()}
    assert roles["trimmed"] == "trim", "the recipe trims the untouched teacher itself"
    assert roles["adapted"] == "adapt" and roles["student"] == "distil"
    assert set(both.evaluated()) == set(roles.values())
    store, keys = both.store, both.bundle_keys()
    sizes = {role: parameters(load_model(store.path(keys[name]))) for role, name in roles.items()}
    assert sizes["untrained"] == sizes["scratch"] == sizes["cut"] == sizes["student"] < sizes["trimmed"]
    read = {name: store.details(keys[name]).numbers.tokens for name in ("adapt", "distil", roles["scratch"])}
    assert read[roles["scratch"]] >= read["adapt"] + read["distil"], (
        "the pocket cap of each training does not hold here"
    )
    assert read[roles["scratch"]] < 1.5 * (read["adapt"] + read["distil"])
    assert {row.id: row.params for row in planned(both)}[roles["untrained"]] == sizes["untrained"]


def test_a_recipe_that_trims_last_is_trimmed_alone_beside(run):
    both = made(with_baselines(run(PAPERS)))
    roles = {role: both.recipe.step(name) for name, role in both.baselines.items()}
    assert set(roles) == {"untrained", "scratch", "cut", "trimmed"}
    assert roles["trimmed"].student == "original" and roles["trimmed"].size == 120
    assert roles["untrained"].student == "trim", "the small model's vocabulary"
    assert [s.id for s in both.recipe.steps if s.kind == "truncate"] == ["truncate", "baseline-truncate"]


def test_the_small_model_of_a_recipe_that_exports_stays_its_own(run):
    both = with_baselines(
        run("name: cuts\nsteps:\n  - trim: {size: 120}\n  - truncate: {layers: 1}\n  - export: {dtype: int8, lines: 4}")
    )
    assert both.recipe.last == "truncate"
    assert both.recipe.step("export").student == "truncate"
    assert "export" in both.evaluated()


def test_a_recipe_without_training_has_nothing_from_scratch(run):
    both = with_baselines(run("name: cuts\nsteps:\n  - trim: {size: 120}\n  - truncate: {layers: 1}"))
    assert set(both.baselines.values()) == {"untrained", "trimmed"}


def test_an_id_like_a_baselines_is_refused(run):
    with pytest.raises(NdogoError, match="`baseline-x` is kept for baselines"):
        with_baselines(run("name: odd\nsteps:\n  - trim: {id: baseline-x, size: 120}"))
