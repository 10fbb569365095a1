"""Scores estimated anew: expectation-maximisation against all segmentations written out."""

import itertools
import json
import math

import numpy as np
import pytest

from ndogo.compressors.vocabulary.counting import encode
from ndogo.compressors.vocabulary.reestimate import _expected_counts, _lattice, reestimate
from ndogo.compressors.vocabulary.source import read_vocabulary
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_tokenizer
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from tests import pico

PIECES = {"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4}
SCORES = np.log([0.3, 0.2, 0.2, 0.2, 0.1])


def segmentations(word):
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        places = [0, *(n + 1 for n, cut in enumerate(cuts) if cut), len(word)]
        parts = [word[a:b] for a, b in itertools.pairwise(places)]
        if all(part in PIECES for part in parts):
            yield [PIECES[part] for part in parts]


def test_expected_counts_are_those_of_all_segmentations_written_out():
    words = {"abab": 3.0, "ba": 2.0, "ababa": 1.0}
    expected, likelihood = np.zeros(5), 0.0
    for word, times in words.items():
        ways = [(way, math.exp(SCORES[way].sum())) for way in segmentations(word)]
        total = sum(chance for _, chance in ways)
        likelihood += times * math.log(total)
        for way, chance in ways:
            np.add.at(expected, way, times * chance / total)
    found, mean = _expected_counts([(_lattice(word, PIECES), times) for word, times in words.items()], SCORES)
    np.testing.assert_allclose(found, expected)
    assert mean == pytest.approx(likelihood / 6)


def test_a_word_that_cannot_be_written_has_no_lattice():
    assert _lattice("abc", PIECES) is None and _lattice("cab", PIECES) is None


def test_the_text_becomes_more_probable_and_specials_keep_their_scores(model_of):
    vocabulary = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    corpus = [WeightedLines(lambda: iter(pico.TEXT))]
    scores, changed = reestimate(vocabulary, range(len(vocabulary.pieces)), corpus, silent)
    assert changed["log_likelihood_per_word_after"] > changed["log_likelihood_per_word_before"]
    assert all(scores[i] == vocabulary.model["vocab"][i][1] for i in vocabulary.specials)
    assert np.array_equal(scores, scores.astype(np.float32)) and np.isfinite(scores).all()


def test_the_certificate_says_what_changed_and_both_files_agree(model_of, trimmed):
    source = model_of("xlmr")
    plain, _ = trimmed(source, name="plain", size=100)
    out, numbers = trimmed(source, size=100, reestimate=True)
    found = json.loads((out / "certificate.json").read_text())
    assert found["valid"] and numbers["other_files_equal"] == 1.0 and numbers["rows_equal"]
    assert found["reestimated"]["words"] > 0 and "estimated anew" in (out / "certificate.md").read_text()
    lines = pico.TEXT[:9]
    assert encode(load_tokenizer(out).backend_tokenizer, lines) != encode(
        load_tokenizer(plain).backend_tokenizer, lines
    )
    assert (out / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()
    assert "reestimated" not in (plain / "certificate.md").read_text()
    assert json.loads((plain / "certificate.json").read_text())["reestimated"] is None


def test_only_unigram_models_have_scores(model_of, trimmed):
    with pytest.raises(NdogoError, match="Only Unigram vocabularies have scores"):
        trimmed(model_of("bert"), size=130, reestimate=True)
