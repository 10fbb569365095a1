"""A sweep's rows: means over seeds, intervals, and which recipes nothing beats."""

import pytest

from ndogo.tasks.comparison import interval, markdown, rows
from ndogo.tasks.pictures import front
from ndogo.tasks.publication import TOY
from ndogo.tasks.run_record import RunRecord


def record(language: str, recipe: str, params: int, retained: float) -> RunRecord:
    summary = {"params": params, "compression_ratio": 1000 / params, "score": retained / 2, "retention": retained}
    return RunRecord(
        id="r",
        name="r",
        language=language,
        profile="local",
        recipe=recipe,
        recipe_text="",
        run={},
        seed=0,
        scaled=language == "swahili",
        model_name="",
        commit="",
        last="trim",
        summary=summary | {"retention_low": retained - 0.01, "retention_high": retained + 0.02},
    )


SWEPT = [
    record("swahili", "small", 100, 0.80),
    record("swahili", "small", 100, 0.84),
    record("swahili", "large", 200, 0.90),
    record("swahili", "large", 200, 0.92),
    record("swahili", "wasteful", 200, 0.79),
    record("swahili", "wasteful", 200, 0.81),
    record("hausa", "wasteful", 200, 0.70),
    record("hausa", "wasteful", 200, 0.70),
]


def test_a_row_is_the_mean_over_seeds_with_students_interval():
    row = next(row for row in rows(SWEPT) if row.recipe == "small")
    assert row.retention == pytest.approx(0.82) and row.seeds == 2
    half = 12.706 * 0.02  # t of one degree of freedom, times the standard error of two values 0.04 apart
    assert row.interval == pytest.approx((0.82 - half, 0.82 + half), abs=1e-4)
    assert interval([0.80, 0.84]) == row.interval


def test_one_seed_has_the_interval_over_its_test_rows():
    assert rows(SWEPT[:1])[0].interval == pytest.approx((0.79, 0.82))


def test_the_front_is_what_nothing_of_its_size_or_smaller_beats_in_its_language():
    assert {(row.language, row.recipe) for row in rows(SWEPT) if row.front} == {
        ("swahili", "small"),
        ("swahili", "large"),
        ("hausa", "wasteful"),
    }


def test_the_table_names_the_front_in_bold_and_says_what_the_brackets_are():
    table = markdown(rows(SWEPT))
    assert "| swahili | **small** | 100 | 10.0x | 41.0 | 82.0% [" in table and "| swahili | wasteful |" in table
    assert "Means over 2 seeds" in table and "over test rows" in markdown(rows(SWEPT[::2]))
    assert TOY in table and TOY not in markdown(rows(SWEPT[-2:]))


def test_the_picture_is_a_png():
    assert front(rows(SWEPT)).startswith(b"\x89PNG")
