"""Trials: the cuts are the recipe's own, losses can be compared over vocabularies, and what was measured is found again."""

from dataclasses import replace
from pathlib import Path

import pytest

from ndogo.compressors.budget import Candidate, candidates, read_budget, vocabularies
from ndogo.compressors.sizes import Counter
from ndogo.core.architectures import shape_of
from ndogo.core.models import load_config
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from ndogo.evaluation import dropped_columns, language_model_quality
from ndogo.registry.bundles import open_store
from ndogo.registry.recipes import recipe
from ndogo.registry.trials import known, measured
from ndogo.steps.trials import JUDGED, Trials
from tests import pico, tiny

TRAINING = [*pico.TEXT, *tiny.lines(60)[len(pico.TEXT) :]]
OTHER = tiny.lines(90)[-25:]


def trials_of(teacher: Path, work: Path, *, headless: bool = False) -> tuple[Trials, list[Candidate]]:
    choices = vocabularies(teacher, [WeightedLines(lambda: iter(TRAINING))], silent)
    found = candidates(Counter(load_config(teacher)), read_budget("1M"), choices, drop=headless)
    base = recipe("ndogo-embed-small" if headless else "ndogo-small").text
    work.mkdir()
    lines = (lambda: iter(TRAINING), lambda: iter(OTHER))
    return Trials(teacher, base, headless, choices, *lines, "text", work), found


@pytest.fixture(scope="module")
def masked(pico_model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trials, list[Candidate]]:
    return trials_of(pico_model("xlmr"), tmp_path_factory.mktemp("trials") / "work")


def test_a_shape_that_cuts_rows_alone_is_judged_as_the_evaluation_judges_it(masked, tmp_path: Path):
    trials, found = masked
    whole = next(c for c in found if c.shape == replace(shape_of(load_config(trials.teacher)), vocab=c.shape.vocab))
    trials.trim(whole, tmp_path / "trimmed")
    settings = JUDGED.model_copy(update={"threads": 1})
    dropped = dropped_columns(trials.teacher, whole.vocabulary.kept, trials.validation, settings)
    said = language_model_quality(
        tmp_path / "trimmed", trials.validation, [lambda: iter(TRAINING)], settings, dropped=dropped
    )
    assert trials.loss(whole) == pytest.approx(said.bits_per_byte, abs=1e-6) and dropped >= 0


def test_a_trial_has_the_shape_and_the_cuts_of_the_recipe(masked, tmp_path: Path):
    trials, found = masked
    shape, least = found[0].shape, found[-1].vocabulary
    small = replace(found[0], shape=replace(shape, layers=1, hidden=16, ffn=24, vocab=least.rows), vocabulary=least)
    assert [step.kind for step in trials.steps(small)] == ["truncate", "prune_ffn", "prune_hidden"]
    assert trials.steps(small)[2].select == "pca"
    trials.cut(small, tmp_path / "small")
    assert shape_of(load_config(tmp_path / "small")) == small.shape


def test_what_was_measured_is_found_again_and_the_least_loss_is_first(masked, monkeypatch: pytest.MonkeyPatch):
    trials, found = masked
    asked = [found[0], found[-1]]
    assert [loss for _, loss in known(open_store(), trials, asked)] == [None, None]
    first = measured(open_store(), trials, asked, silent)
    assert first[0][1] <= first[1][1]
    monkeypatch.setattr(Trials, "loss", lambda *_: pytest.fail("it was measured before"))
    assert measured(open_store(), trials, asked, silent) == first
    assert [loss for _, loss in known(open_store(), replace(trials, fingerprint="other"), asked)] == [None, None]


def test_a_bare_encoder_is_judged_by_its_words_states(pico_model, tmp_path: Path):
    teacher = pico.embedder(pico_model("xlmr"), tmp_path / "teacher")
    trials, found = trials_of(teacher, tmp_path / "work", headless=True)
    whole = next(c for c in found if c.shape == replace(shape_of(load_config(teacher)), vocab=c.shape.vocab))
    small = replace(whole, shape=replace(whole.shape, layers=1, hidden=16, heads=2, ffn=24))
    assert 0 <= trials.loss(whole) < trials.loss(small) and trials.steps(small)[-1].heads == "drop"
