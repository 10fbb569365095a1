"""The lines with which a run begins: what is found, what will be made, and about how long that takes."""

import logging
from pathlib import Path

import pytest

from ndogo.core.progress import silent
from ndogo.evaluation import EvaluationSettings
from ndogo.registry.bundles import Bundle
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks import clock, forecast, progress
from ndogo.tasks.evaluation import evaluated
from ndogo.tasks.prices import START, Prices
from ndogo.tasks.progress import sentence, share
from ndogo.tasks.run import Run, planned
from ndogo.tasks.steps import find_or_make
from tests import tiny

RECIPE = """
name: r
steps:
  - truncate: {layers: 2}
  - distil: {teacher: original, objective: {logits_kl: 1}, steps: 2, batch_size: 4, max_length: 32}
  - truncate: {id: shorter, layers: 1}
evaluate: every-step
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
    assert all(f": will be made, about 1 s, {forecast.CLOCK}" in line for line in before[:-1])
    assert before[-1].startswith("all: 7 of 7 will be made, about ")
    find_or_make(run, "truncate", silent)
    evaluated(run, Bundle("original", run.original), silent)
    after = forecast.told([run])
    assert after[0] == "truncate: found"
    assert after[2].startswith("shorter: will be made, about") and after[2].endswith("as 1 before it here")
    assert after[3] == "evaluate original: found"
    assert after[4].startswith("evaluate truncate: will be made, about") and after[4].endswith("as 1 before it here")
    assert after[6].startswith("evaluate shorter: will be made, about")
    assert after[6].endswith(forecast.CLOCK), "models of another size say nothing of it"


def test_of_several_runs_each_has_a_line_and_what_they_share_is_in_the_first(run: Run):
    other = run.model_copy(update={"id": "other", "seed": 1})
    same = other.model_copy(update={"id": "same"})
    first, second, third, whole = forecast.told([run, other, same])
    assert first.startswith(f"{run.name}: 7 of 7 will be made, about ")
    assert second.startswith(f"{other.name}: 4 of 4 will be made, about ")
    assert third == f"{same.name}: all as above"
    assert whole.startswith("all: 11 of 11 will be made, about ")


@pytest.mark.filterwarnings("ignore:Artifact creation outside")
def test_a_server_that_is_gone_takes_the_picture_of_progress_and_nothing_else(run: Run, monkeypatch, caplog):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    logger = logging.getLogger("told")
    for done in (0.1, 0.2):
        progress._show(run, "truncate", "cutting", done, logger)
    assert [record.message for record in caplog.records if record.name == "told"] == [
        "Prefect shows no progress any more: ConnectError: [Errno 111] Connection refused"
    ]


TAUGHT = """
name: r
steps:
  - trim: {size: 100}
  - distil:
      teacher: trim
      objective: {hidden: 1}
      tokens: 1000000
      max_length: 32
      windows: [8, 32]
      mask_probability: 0
      teacher_outputs: KEPT
"""


@pytest.fixture
def prices(run: Run, monkeypatch: pytest.MonkeyPatch):
    """Prices of a recipe on a machine where a student learns 100 tokens a second, a teacher 1,000, and all is read at 10,000."""
    rates = {"learn": 0.01, "teach": 0.001, "read": 0.0001}
    monkeypatch.setattr(clock, "seconds_per_token", lambda config, way, threads: rates[way])
    monkeypatch.setattr(clock, "seconds_per_iteration", lambda width, classes: 0.0)

    def of(text: str) -> Prices:
        asked = run.model_copy(update={"recipe": parse_recipe(text), "token_cap": None})
        return Prices(asked, {row.id: row for row in planned(asked)})

    return of


def test_a_teacher_whose_answers_are_kept_counts_once_for_each_distinct_token(prices):
    live, kept = (prices(TAUGHT.replace("KEPT", how)) for how in ("live", "int8"))
    step = live.run.recipe.step("distil")
    beside = live.training(step) - live.learning(step)
    assert live.learning(step) == pytest.approx(10_000)
    assert beside == pytest.approx(1_000, rel=0.01), "it reads every batch anew"
    text = 2 * kept.text.tokens  # its lines, and as many tokens in windows
    assert 4_000 < kept.text.tokens < 20_000
    distil = kept.run.recipe.step("distil")
    assert kept.training(distil) - kept.learning(distil) == pytest.approx(0.001 * text, abs=1)


@pytest.mark.parametrize(
    ("length", "tokens"),
    [
        ("tokens: 5000", 5000),
        ("epochs: 3", None),
        ("steps: 10, batch_tokens: 256", 2560),
        ("steps: 4, batch_size: 8", None),
    ],
)
def test_the_length_of_a_training_is_known_in_every_unit(prices, length: str, tokens: int | None):
    found = prices(f"name: r\nsteps:\n  - adapt: {{max_length: 32, {length}}}\n")
    expected = {"epochs: 3": 3 * found.text.tokens, "steps: 4, batch_size: 8": 32 * found.text.mean}
    assert found.tokens(found.run.recipe.step("adapt")) == pytest.approx(tokens or expected[length])


@pytest.mark.parametrize("lines", ["1/4", "40"])
def test_a_training_on_a_part_of_the_text_reads_and_costs_that_part(prices, lines: str):
    found = prices(f"name: r\nsteps:\n  - adapt: {{max_length: 32, epochs: 1, batch_size: 8, lines: {lines}}}\n")
    step = found.run.recipe.step("adapt")
    assert found.part(step.part).lines == (round(found.text.lines / 4) if lines == "1/4" else 40)
    bundle, _ = find_or_make(found.run, "adapt", silent)
    assert found.tokens(step) == pytest.approx(found.run.store.details(bundle.key).numbers.tokens, rel=0.03)


def test_an_evaluation_reads_every_row_once(prices):
    found = prices(RECIPE)
    tokens = sum(sum(each.values()) for each in found.rows_tokens.values())
    words = 4 * (48 + 16 + 32) * 5  # rows of five words in each of four benchmarks
    assert words < tokens < 10 * words
    asked = 1.05 * tokens + 400 * found.text.mean  # and two tokens of two words in each of a hundred lines
    assert found.evaluation("original") - START == pytest.approx(0.0001 * asked, rel=0.05)


def test_calibration_costs_its_lines(prices):
    lines = "name: r\nsteps:\n  - prune_ffn: {size: 1/2, sentences: 10000, importance: activation}\n"
    found = prices(lines)
    assert found.step(found.run.recipe.step("prune_ffn")) - START == pytest.approx(found.text.mean, rel=0.1)


def test_a_sign_of_life_tells_the_newest_numbers_and_the_time_left():
    assert sentence("training", 50, 200, {"loss": 1.23456}, 300.0) == "training 50 of 200, loss 1.235, about 5 min left"
    assert sentence("tokenising", 5000, None, None, None) == "tokenising 5,000"


def test_progress_of_a_run_goes_from_0_to_100_over_its_steps_and_evaluations(run: Run):
    told = [share(run, name, done) for name in ("truncate", "distil", "shorter", "evaluate-shorter") for done in (0, 1)]
    assert told == sorted(told) and told[0] == 0 and told[-1] == 100
