"""The recipe language: what is written is what is run, and what cannot be is refused with file, key and value."""

import pytest

from ndogo.core.errors import NdogoError
from ndogo.registry.recipes import FOLDER, recipe, recipe_names
from ndogo.steps.kinds.distil import Distil
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.recipe import parse_recipe, read_recipe

HEAD = "name: x\nsteps:\n"


def test_a_step_follows_the_one_before_it_unless_it_names_another():
    read = parse_recipe(
        HEAD
        + """
  - adapt: {epochs: 1}
  - truncate: {id: half, layers: 6}
  - distil: {id: first, teacher: adapt, objective: {mlm: 1}, epochs: 1}
  - distil: {id: second, student: half, objective: {mlm: 1}, epochs: 1}"""
    )
    assert [s.parents for s in read.steps] == [
        {"student": "original"},
        {"student": "adapt"},
        {"student": "half", "teacher": "adapt"},
        {"student": "half", "teacher": "original"},
    ]


def test_steps_run_after_what_they_need_in_whatever_order_they_are_written():
    read = parse_recipe(
        HEAD + "  - trim: {id: late, size: 5, student: early}\n  - truncate: {id: early, layers: 1, student: original}"
    )
    assert [s.id for s in read.order()] == ["early", "late"]


def test_sizes_are_whole_or_fractions_and_survive_a_round_trip():
    step = parse_recipe(HEAD + "  - trim: {size: 312/768}").steps[0]
    assert Trim(**step.content()).size == step.size
    assert step.content()["size"] == "13/32"


def test_an_objective_is_a_weight_or_a_table():
    step = parse_recipe(
        HEAD + "  - distil: {epochs: 1, objective: {mlm: 0.5, hidden: {weight: 2, map: [[1, 2]]}}}"
    ).steps[0]
    assert isinstance(step, Distil)
    assert (step.objective["mlm"].weight, step.objective["hidden"].map) == (0.5, ((1, 2),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML.*line 1, column"),
        ("name: x\nsteps: 3", "list of steps"),
        ("name: X!\nsteps: [{trim: {size: 3}}]", "name"),
        ("name: x\nstepz: 1\nsteps: [{trim: {size: 3}}]", "Unknown key `stepz`"),
        (HEAD + "  - trom: {size: 3}", r"no kind of step `trom`.*steps\[0\].*Allowed: adapt, distil"),
        (HEAD + "  - trim: {siez: 3}", r"Unknown key `siez`.*steps\[0\]\.trim.*Did you mean `size`"),
        (HEAD + "  - trim: 3", "a table; got 3"),
        (HEAD + "  - trim: {size: 0}", "size:.*above 0"),
        (HEAD + "  - trim: {size: 4/3}", "at most 1"),
        (HEAD + "  - trim: {size: many}", "a whole number or a fraction.*many"),
        (HEAD + "  - trim: {size: 3, coverage: 0.9}", "exactly one of size and coverage"),
        (HEAD + "  - trim: {size: 3}\n  - trim: {size: 2}", "id `trim` is taken"),
        (HEAD + "  - truncate: {layers: 2, keep: middle}", "keep.*'stride'"),
        (HEAD + "  - truncate: {layers: 2, keep: [1, 0]}", "in order"),
        (HEAD + "  - truncate: {layers: 3, keep: [0, 1]}", "lists 2 layers, but layers is 3"),
        (HEAD + "  - adapt: {epochs: 1, steps: 5}", "exactly one of epochs, steps and tokens"),
        (HEAD + "  - distil: {epochs: 1}", "objective"),
        (HEAD + "  - distil: {epochs: 1, objective: {mlx: 1}}", "unknown objective `mlx`"),
        (HEAD + "  - distil: {epochs: 1, objective: {mlm: -1}}", "greater than 0.*-1"),
        (HEAD + "  - distil: {epochs: 1, objective: {mlm: 1}, teacher: nobody}", "no step `nobody`.*Allowed: original"),
        (HEAD + "  - trim: {size: 3, student: b}\n  - truncate: {id: b, layers: 2}", "wait for each other"),
        (HEAD + "  - trim: {size: 3, student: trim}", "wait for each other"),
        (HEAD + "  - trim: {size: 3, id: ''}", "An id is not empty"),
        (HEAD + "  - trim: {size: true}", "size:.*got True"),
        (HEAD + "  - truncate: {layers: 2, keep: [-1, 0]}", "keep"),
        (HEAD + "  - truncate: {layers: 2, keep: [true, 2]}", "keep"),
        (HEAD + "  - distil: {epochs: 1, objective: {mlm: yes}}", "mlm|weight"),
        (HEAD + "  - distil: {epochs: 1, objective: {mlm: true}}", "weight takes a number; got True"),
        (HEAD + "  - adapt: {epochs: true}", "epochs takes a number; got True"),
        (HEAD + "  - adapt: {epochs: .inf}", "no finite number"),
        (HEAD + "  - adapt: {epochs: 'inf'}", "finite"),
        (HEAD + "  - adapt: {steps: 1000000000000000000}", "beyond all that a model can have"),
        (HEAD + "  - distil: {epochs: 1, objective: {logits_kl: {temperature: 'nan'}}}", "finite"),
        (HEAD + "  - trim: {size: 3}\n" * 3000, "at most 100 steps; got 3000"),
        ("name: x\nname: y\nsteps: [{trim: {size: 3}}]", "stands there twice"),
    ],
)
def test_bad_recipes_are_refused_with_one_clear_message(text: str, message: str):
    with pytest.raises(NdogoError, match="(?s)" + message):
        parse_recipe(text, where="my.yaml")


def test_a_missing_or_unknown_recipe_says_what_there_is(tmp_path):
    with pytest.raises(NdogoError, match="Did you mean two-step"):
        recipe("twostep")
    with pytest.raises(NdogoError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_reads_is_named_after_its_file_and_keeps_its_text(name: str):
    read = recipe(name)
    assert read.name == name
    assert read.about
    assert read.text == (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
