"""A sweep's rows: means over seeds, the common interval, and which recipes nothing beats."""

import dataclasses

import pytest

from ndogo.evaluation import retention
from ndogo.registry.bundles import open_store
from ndogo.tasks.comparison import markdown, rows
from ndogo.tasks.pictures import front
from ndogo.tasks.run_record import CAPPED, TOY, EvaluationNote, RunRecord
from tests.evaluation.test_retention import record as judged


def scored(right: int, seed: int = 0):
    """An evaluation with so many right rows of 100, other ones for each seed."""
    row = [1] * right + [0] * (100 - right)
    return judged([row[seed:] + row[:seed]] * 2)


def record(language: str, recipe: str, params: int, right: int, seed: int = 0) -> RunRecord:
    """Of a run whose teacher has every row right; the evaluations lie in the store."""
    evaluations = {}
    for step, found in (("trim", scored(right, seed)), ("original", scored(100))):
        key = f"{language}-{recipe}-{seed}-{step}"
        open_store().write_record("evaluations", key, found)
        evaluations[step] = EvaluationNote(key=key, metrics={"pos": found.benchmarks["pos"].mean}, problems={})
    return RunRecord(
        id="r",
        name="r",
        language=language,
        profile="pocket" if language == "swahili" else "local",
        recipe=recipe,
        recipe_text="",
        run={},
        seed=seed,
        scaled=True,
        model_name="",
        commit="",
        last="trim",
        evaluations=evaluations,
        summary={"params": params, "compression_ratio": 1000 / params},
    )


@pytest.fixture
def swept() -> list[RunRecord]:
    return [
        record("swahili", "small", 100, 80),
        record("swahili", "small", 100, 84, 1),
        record("swahili", "large", 200, 90),
        record("swahili", "large", 200, 92, 1),
        record("swahili", "wasteful", 200, 79),
        record("swahili", "wasteful", 200, 81, 1),
        record("hausa", "wasteful", 200, 70),
        record("hausa", "wasteful", 200, 70, 1),
    ]


def test_a_row_has_the_interval_that_report_race_and_gate_have(swept):
    row = next(row for row in rows(open_store(), swept) if row.recipe == "small")
    expected = retention([scored(80), scored(84, 1)], [scored(100)] * 2).mean
    assert (row.retention, row.interval, row.seeds) == (pytest.approx(0.82), expected.retention_interval, 2)
    assert row.score == pytest.approx(0.82) and row.benchmarks == ("pos",)


def test_three_seeds_are_wider_than_their_rows_and_say_so():
    """Student's t over three seeds, beside the test rows and not in their place."""
    kept = ((70, 80, 90), (80, 80, 80))
    wide, narrow = (
        rows(open_store(), [record("swahili", "small", 100, right, seed) for seed, right in enumerate(seeds)])[0]
        for seeds in kept
    )
    assert wide.interval[1] - wide.interval[0] > 2 * 4.3 * 0.1 / 3**0.5 > narrow.interval[1] - narrow.interval[0] > 0
    assert "3 seeds of compression" in markdown([wide]) and "3 seeds" in wide.covers


def test_a_seed_without_one_of_the_benchmarks_makes_the_row_not_comparable(swept):
    lost = scored(99)
    more = lost.model_copy(update={"benchmarks": {**lost.benchmarks, "ner": lost.benchmarks["pos"]}})
    open_store().write_record("evaluations", "swahili-small-1-trim", more)
    found = rows(open_store(), swept)
    row = next(row for row in found if row.recipe == "small")
    assert (row.score, row.retention, row.front) == (None, None, False)
    assert "| swahili | small | 100 | 10.0x | - | not comparable |" in markdown(found)
    assert front(found).startswith(b"\x89PNG")


def test_the_front_is_what_nothing_of_its_size_or_smaller_beats_in_its_language(swept):
    assert {(row.language, row.recipe) for row in rows(open_store(), swept) if row.front} == {
        ("swahili", "small"),
        ("swahili", "large"),
        ("hausa", "wasteful"),
    }


def test_the_table_names_the_front_in_bold_and_says_what_is_in_it(swept):
    found = rows(open_store(), swept)
    table = markdown(found)
    assert "| swahili | **small** | 100 | 10.0x | 82.0 | 82.0% [" in table and "| swahili | wasteful |" in table
    assert "Scores: mean of pos, fine-tuned." in table and "test rows and judging; two seeds of compression" in table
    assert TOY in table and CAPPED in table
    real = markdown([row for row in found if row.language == "hausa"])
    assert TOY not in real and CAPPED in real, "capped training on real text is no toy"
    assert CAPPED not in markdown([dataclasses.replace(row, notice="") for row in found])


def test_the_picture_is_a_png(swept):
    assert front(rows(open_store(), swept)).startswith(b"\x89PNG")


def test_what_is_kept_of_sentence_vectors_has_columns_of_its_own(swept):
    plain = rows(open_store(), swept)
    assert "translation found" not in markdown(plain)
    told = markdown([dataclasses.replace(plain[0], vectors={"retrieval": (0.981, (0.975, 0.986))}), *plain[1:]])
    heads, _, first, second, *_ = told.splitlines()
    assert heads.endswith("| retention | translation found |") and first.endswith("| 98.1% [97.5, 98.6] |")
    assert second.endswith("| - |") and all(line.count("|") == heads.count("|") for line in (first, second))
