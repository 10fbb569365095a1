"""The lines with which a run begins: what is found, what will be made, and about how long that takes."""

from pathlib import Path

import pytest

from ndogo.core.progress import silent
from ndogo.evaluation import EvaluationSettings
from ndogo.registry.bundles import Bundle
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks import forecast
from ndogo.tasks.evaluation import evaluated
from ndogo.tasks.progress import sentence, share
from ndogo.tasks.run import Run
from ndogo.tasks.steps import find_or_make
from tests import tiny

RECIPE = """
name: r
steps:
  - truncate: {layers: 2}
  - distil: {teacher: original, objective: {logits_kl: 1}, steps: 2, batch_size: 4, max_length: 32}
  - truncate: {id: shorter, layers: 1}
"""


@pytest.fixture
def run(pico_model, tmp_path: Path) -> Run:
    text, rows = tiny.write(tmp_path / "tiny")
    teacher = pico_model("xlmr")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher), benchmarks=str(rows)))
    found = tiny.run_of(parse_recipe(RECIPE), teacher)
    return found.model_copy(update={"settings": EvaluationSettings(seeds=(1,), threads=1)})


def test_a_run_says_what_is_found_and_how_long_the_rest_takes(run: Run):
    before = forecast.told([run])
    assert before[0] == "truncate: will be made, for how long is not known yet", "nothing like it was made here"
    assert before[1].startswith("distil: will be made, about 1 s, by the clock of this machine")
    assert before[-1] == "all: 5 of 5 will be made, about 1 s for 1 of them"
    find_or_make(run, "truncate", silent)
    evaluated(run, Bundle("original", run.original), silent)
    after = forecast.told([run])
    assert after[0] == "truncate: found"
    assert after[2].startswith("shorter: will be made, about") and after[2].endswith("as 1 before it here")
    assert after[3] == "evaluate original: found"
    assert after[4].startswith("evaluate shorter: will be made, about") and after[4].endswith("as 1 before it here")


def test_a_sign_of_life_tells_the_newest_numbers_and_the_time_left():
    assert sentence("training", 50, 200, {"loss": 1.23456}, 300.0) == "training 50 of 200, loss 1.235, about 5 min left"
    assert sentence("tokenising", 5000, None, None, None) == "tokenising 5,000"


def test_progress_of_a_run_goes_from_0_to_100_over_its_steps_and_evaluations(run: Run):
    told = [share(run, name, done) for name in ("truncate", "distil", "shorter", "evaluate-shorter") for done in (0, 1)]
    assert told == sorted(told) and told[0] == 0 and told[-1] == 100
