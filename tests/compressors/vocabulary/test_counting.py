"""Counting: one pass, the same counts by either way, bounded memory, lines set aside."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ndogo.compressors.vocabulary import counting
from ndogo.compressors.vocabulary.counting import batches, count_tokens, cuts_at_spaces, encode
from ndogo.compressors.vocabulary.source import read_vocabulary
from ndogo.core.models import load_config
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from tests import pico
from tests.compressors.vocabulary.conftest import EDGES


@pytest.fixture(params=["xlmr", "bert", "bert_uncased", "roberta", "gemma"])
def vocabulary(request, model_of):
    return read_vocabulary(model_of(request.param), load_config(model_of(request.param)))


def count(vocabulary, lines, weight=1.0):
    return count_tokens(
        vocabulary.backend, len(vocabulary.tokens), [WeightedLines(lambda: iter(lines), weight)], silent
    )


def test_every_token_of_every_line_is_counted_or_held_out(vocabulary):
    lines = (pico.TEXT + EDGES) * 3
    found = count(vocabulary, lines, weight=0.5)
    expected = np.zeros(len(vocabulary.tokens))
    for ids in encode(vocabulary.backend, lines):
        np.add.at(expected, ids, 0.5)
    for text, ids in found.certificate_sample:
        assert [ids] == encode(vocabulary.backend, [text])
        np.subtract.at(expected, ids, 0.5)
    assert np.array_equal(found.weighted, expected) and found.lines == len(lines)
    assert found.tokens == expected.sum() * 2
    assert [text for text, _ in found.certificate_sample] == lines[::50]


def test_only_tokenizers_that_cut_at_spaces_are_given_stretches(model_of):
    found = {
        family: cuts_at_spaces(read_vocabulary(model_of(family), load_config(model_of(family))).backend)
        for family in ("xlmr", "bert", "bert_uncased", "roberta", "gemma")
    }
    assert found == {"xlmr": True, "bert": True, "bert_uncased": True, "roberta": False, "gemma": False}


@pytest.mark.parametrize("family", ["xlmr", "bert", "bert_uncased"])
def test_a_line_has_the_ids_of_its_stretches(model_of, family):
    backend = read_vocabulary(model_of(family), load_config(model_of(family))).backend

    @settings(max_examples=150, deadline=None)
    @given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(EDGES + pico.TEXT[:6]), max_size=5).map(" ".join)))
    def check(line: str) -> None:
        whole, *parts = encode(backend, [line, *line.split(" ")])
        assert whole == [i for part in parts for i in part]

    check()


@pytest.mark.parametrize(("limit", "value"), [("STRETCHES", 10), ("STRETCH_CHARACTERS", 60)])
def test_stretches_are_forgotten_in_time_and_counted_all_the_same(model_of, monkeypatch, limit, value):
    vocabulary = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    expected = count(vocabulary, pico.TEXT * 5).weighted
    largest = 0
    original = Counter.update

    def watched(self, *given):
        nonlocal largest
        original(self, *given)
        largest = max(largest, len(self))

    monkeypatch.setattr(counting, limit, value)
    monkeypatch.setattr(counting, "BATCH_LINES", 2)
    monkeypatch.setattr(counting.Counter, "update", watched)
    assert np.array_equal(count(vocabulary, pico.TEXT * 5).weighted, expected)
    assert 10 < largest < 40


def test_batches_are_bounded_by_lines_and_by_characters(monkeypatch):
    monkeypatch.setattr(counting, "BATCH_LINES", 3)
    monkeypatch.setattr(counting, "BATCH_CHARACTERS", 10)
    assert [len(b) for b in batches(lambda: iter(["a"] * 7 + ["b" * 11, "c"]))] == [3, 3, 2, 1]


def test_at_most_so_many_lines_are_held_out_spread_over_the_corpus_and_the_rest_is_counted(model_of, monkeypatch):
    vocabulary = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    monkeypatch.setattr(counting, "SAMPLE_AT_MOST", 4)
    lines = [f"siku {number}" for number in range(2000)]
    first, again = count(vocabulary, lines), count(vocabulary, lines)
    assert first.certificate_sample == again.certificate_sample and len(first.certificate_sample) == 4
    numbers = sorted(int(text.split()[1]) for text, _ in first.certificate_sample)
    assert all(n % 50 == 0 for n in numbers) and numbers[-1] > 500
    total = sum(len(ids) for ids in encode(vocabulary.backend, lines))
    assert first.tokens == total - sum(len(ids) for _, ids in first.certificate_sample) == first.weighted.sum()


def test_a_corpus_of_one_line_is_held_out_and_counted(model_of):
    vocabulary = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    found = count(vocabulary, ["Kitabu kikubwa"])
    assert len(found.certificate_sample) == 1 and found.weighted.sum() == found.tokens == len(
        found.certificate_sample[0][1]
    )
