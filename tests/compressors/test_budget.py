"""Budget in, shape out: what is asked for is kept to, the rule picks the least loss, the recipe makes that very shape."""

import re
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest

from ndogo.compressors.budget import Limit, Rows, candidates, points_lost, read_budget, vocabularies
from ndogo.compressors.sizes import Counter
from ndogo.core.architectures import shape_of, with_shape
from ndogo.core.errors import NdogoError
from ndogo.core.models import empty_model
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from ndogo.registry.recipes import recipe
from ndogo.registry.teachers import teacher
from ndogo.steps.fitting import recipe_text
from ndogo.steps.plan import plan
from ndogo.steps.recipe import parse_recipe
from tests import pico, tiny

CHOICES = [Rows(22_005, 5, 0.9995), Rows(14_005, 5, 0.996), Rows(9_005, 5, 0.98)]


@cache
def counter(name: str) -> Counter:
    return Counter(teacher(name).config)


def found(name: str, budget: str, clock=None):
    return counter(name).config, candidates(counter(name), read_budget(budget), CHOICES, clock)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("20MB", Limit("size_mb", 20.0, "20MB", "fp32")),
        ("12M", Limit("params", 12e6, "12M")),
        (" 4.5 ms", Limit("ms", 4.5, "4.5ms")),
    ],
)
def test_three_units(text: str, limit: Limit):
    assert read_budget(text) == limit


@pytest.mark.parametrize("text", ["", "20", "MB", "20 GB", "-5MB", "0M", "12m", "5 s", "1e3M"])
def test_other_budgets_are_refused_with_the_cure(text: str):
    with pytest.raises(NdogoError, match=r"(?s)is no budget.*20MB, 12M or 5ms"):
        read_budget(text)


@pytest.mark.parametrize("budget", ["20MB", "60MB", "12M", "30M"])
def test_every_candidate_keeps_to_the_budget_and_the_first_loses_least(budget: str):
    config, rows = found("xlm-roberta-base", budget)
    limit = read_budget(budget)
    assert all((c.params if limit.kind == "params" else c.size_mb) <= limit.most for c in rows)
    assert [c.expected for c in rows] == sorted(c.expected for c in rows)
    assert len({(c.shape.layers, c.shape.vocab) for c in rows}) == len(rows)  # rows are searched as layers are
    whole = shape_of(config)
    assert all(c.expected == points_lost(c.shape, whole, c.vocabulary.coverage) for c in rows)


def test_a_larger_budget_never_loses_more():
    lost = [found("xlm-roberta-base", f"{millions}M")[1][0].expected for millions in (8, 12, 20, 40, 80, 120)]
    assert lost == sorted(lost, reverse=True) and lost[0] > lost[-1]


def test_nothing_is_cut_where_the_budget_is_ample_but_the_vocabulary():
    config, rows = found("xlm-roberta-base", "900M")
    assert rows[0].shape == replace(shape_of(config), vocab=22_005)
    assert rows[0].expected == pytest.approx(0.05)


def test_whole_heads_go_where_the_recipe_drops_them():
    rows = candidates(counter("xlm-roberta-base"), read_budget("12M"), CHOICES, drop=True)
    assert all(c.shape.hidden == 64 * c.shape.heads for c in rows) and rows[0].shape.heads < 12


def test_megabytes_as_int8_are_a_byte_for_each_weight_and_a_scale_for_each_row():
    known = counter("xlm-roberta-base")
    best = candidates(known, read_budget("20MB", "int8"), CHOICES)[0]
    stored = {id(p): p for p in empty_model(with_shape(known.config, **asdict(best.shape))).parameters()}.values()
    matrices = sum(p.numel() + 4 * len(p) for p in stored if p.dim() > 1)
    vectors = sum(4 * p.numel() for p in stored if p.dim() == 1)
    weights = matrices + vectors
    assert weights <= 1e6 * best.size_mb <= weights + 50_000 < 20.05e6 and best.size_mb <= 20
    assert best.params > 2 * candidates(known, read_budget("20MB"), CHOICES)[0].params
    made = parse_recipe(
        recipe_text(recipe("ndogo-small").text, "mine", read_budget("20MB", "int8"), best, known.config)
    )
    assert made.budget is not None and made.budget.params == best.params  # the gate's MB are fp32


def test_milliseconds_are_those_of_the_clock():
    _, rows = found("xlm-roberta-base", "5ms", lambda shape: shape.layers * shape.hidden / 768)
    assert all(c.ms == c.shape.layers * c.shape.hidden / 768 <= 5 for c in rows)
    assert rows[0].vocabulary == CHOICES[0]  # rows cost no time, so none are given up


@pytest.mark.parametrize(("budget", "unit"), [("0.5M", "M"), ("1MB", "MB")])
def test_what_cannot_be_is_refused_with_the_least_that_can(budget: str, unit: str):
    with pytest.raises(NdogoError, match=rf"(?s)keeps to {budget}.*Give [\d.]+{unit} or more") as refused:
        found("xlm-roberta-base", budget)
    least = float(re.search(r"[\d.]+", refused.value.cure)[0])
    assert found("xlm-roberta-base", f"{least}{unit}")[1]
    with pytest.raises(NdogoError):
        found("xlm-roberta-base", f"{least - 0.1:.1f}{unit}")


@pytest.mark.parametrize("name", ["xlm-roberta-base", "bert-base-multilingual-cased", "mmbert-small"])
def test_the_recipe_plans_to_the_predicted_parameters(name: str):
    guide = teacher(name)
    for budget in ("12M", "900M"):
        config, rows = found(name, budget)
        for chosen in rows[:2]:
            text = recipe_text(recipe("ndogo-small").text, "mine", read_budget(budget), chosen, config)
            last = plan(parse_recipe(text), guide.config, guide.specials)[-1]
            assert (asdict(last.shape), last.params) == (asdict(chosen.shape), chosen.params), text


def test_the_recipe_carries_the_budget_to_the_gate_and_leaves_out_cuts_of_nothing():
    config, rows = found("xlm-roberta-base", "12M")
    made = parse_recipe(recipe_text(recipe("ndogo-small").text, "mine", read_budget("12M"), rows[0], config))
    assert made.budget is not None and (made.budget.params, made.budget.size_mb) == (12_000_000, None)
    config, rows = found("xlm-roberta-base", "900M")
    made = parse_recipe(recipe_text(recipe("ndogo-small").text, "mine", read_budget("900M"), rows[0], config))
    assert [step.kind for step in made.steps] == ["trim", "adapt", "export"]


def test_vocabularies_are_what_trimming_keeps(pico_model, tmp_path: Path):
    from ndogo.compressors.vocabulary import Wanted, trim
    from ndogo.core.models import load_config

    lines = WeightedLines(lambda: iter([*pico.TEXT, *tiny.lines(50)]), 1.0, "tiny")
    choices = vocabularies(pico_model("xlmr"), [lines], silent)
    assert [c.rows for c in choices] == sorted({c.rows for c in choices}, reverse=True) and len(choices) > 2
    for number, choice in enumerate((choices[0], choices[-1])):
        out = tmp_path / str(number)
        out.mkdir()
        numbers = trim(pico_model("xlmr"), out, Wanted(size=choice.rows - choice.specials), [lines], silent)
        assert load_config(out).vocab_size == choice.rows
        assert numbers["params"] == Counter(load_config(pico_model("xlmr"))).params(shape_of(load_config(out)))
