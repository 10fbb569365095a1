"""Every recipe file runs to its end on a small random teacher and makes the model that its plan says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ndogo import pocket
from ndogo.budget_command import Wanted, make_recipe
from ndogo.compressors.budget import read_budget
from ndogo.compressors.sizes import Counter
from ndogo.core.architectures import shape_of
from ndogo.core.download import tokenizer_bytes
from ndogo.core.models import copy_tokenizer, load_config, load_model, model_class, parameters, save
from ndogo.core.progress import silent
from ndogo.core.task_heads import with_task
from ndogo.registry.languages import Language, add_language
from ndogo.registry.recipes import FOLDER, recipe
from ndogo.steps.kinds.fresh import Fresh
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.step import Context, Planning
from ndogo.tasks.run import planned
from ndogo.tasks.steps import find_or_make
from tests import tiny


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store that all recipes share, as in a sweep, with a language and a teacher of four layers of 64.

    The vocabulary is the pocket teacher's: an eighth of a pico one would not hold the alphabet.
    """
    folder = tmp_path_factory.mktemp("recipes")
    teacher = folder / "teacher"
    Fresh(layers=4, hidden=64, ffn=128, heads=4).make({"student": pocket.teacher()}, teacher, Context())
    config = with_task(load_config(teacher), "token", ("O", "B-PER", "I-PER"))
    save(model_class(config)(config), folder / "tagger")
    copy_tokenizer(teacher, folder / "tagger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NDOGO_HOME", str(folder / "home"))
        corpus, _ = tiny.write(folder / "tiny")
        add_language(Language(name=tiny.NAME, corpus=str(corpus), teacher=str(teacher)))
    return folder / "home"


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_a_recipe_makes_what_its_plan_says(name: str, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NDOGO_HOME", str(home))
    kind = "tagger" if name.startswith("ndogo-task-") else "teacher"
    run = tiny.run_of(recipe(name), home.parent / kind)
    for step_id in run.requests():
        find_or_make(run, step_id, silent)
    made = run.store.path(run.bundle_keys()[run.recipe.last])
    last = planned(run)[-1]
    found = load_config(made)
    if any(
        isinstance(step, Trim) for step in run.recipe.steps
    ):  # the toy text may use fewer pieces than were asked for
        assert found.vocab_size <= last.shape.vocab
        last_config = Trim(size=found.vocab_size).plan(last.config, Planning(""))
        assert shape_of(found) == shape_of(last_config)
    else:
        assert shape_of(found) == last.shape
        assert parameters(load_model(made)) == last.params


@pytest.mark.parametrize("most", ["0.6MB", "0.05M"])
def test_a_budget_becomes_a_recipe_whose_model_has_the_predicted_size(
    most: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NDOGO_HOME", str(home))
    monkeypatch.setattr("ndogo.compressors.budget.MEASURED", 4)  # of 20: the sizes are predicted alike
    run = tiny.run_of(recipe(make_recipe(Wanted(tiny.NAME, most, profile="local"))), home.parent / "teacher")
    made = home
    for step_id in run.requests():
        made = run.store.path(find_or_make(run, step_id, silent)[0])
    counter, shape = Counter(load_config(home.parent / "teacher")), shape_of(load_config(made))
    assert parameters(load_model(made)) == counter.params(shape) == planned(run)[-1].params
    lies = (made / "model.safetensors").stat().st_size
    assert lies <= counter.file_bytes(shape) == pytest.approx(lies, rel=0.05)
    limit = read_budget(most)
    assert (
        lies + tokenizer_bytes(made) <= limit.most * 1e6
        if limit.kind == "size_mb"
        else counter.params(shape) <= limit.most
    )
