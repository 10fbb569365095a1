"""Kept tokens, same segmentation: every family, random sets of kept tokens, Unicode's edges."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ndogo.compressors.vocabulary.closure import needs_of, unsafe_tokens
from ndogo.compressors.vocabulary.counting import encode
from ndogo.compressors.vocabulary.files import TWINS, write_tokenizer
from ndogo.compressors.vocabulary.source import Vocabulary, read_vocabulary
from ndogo.core.models import copy_tokenizer, load_config, load_tokenizer
from tests import pico
from tests.compressors.vocabulary.conftest import EDGES

FAMILIES = ["xlmr", "bert", "bert_uncased", "roberta", "modernbert", "gemma"]
ALPHABET = "aeioumtwkz ▁.,^!0123éẹọ̀́\u0323ħżťɗƘ😀\u200d孩дb\x00\t\u00a0#"
STRINGS = st.one_of(
    st.text(max_size=60),
    st.text(ALPHABET, max_size=60),
    st.lists(st.sampled_from([word for line in pico.TEXT for word in line.split()] + EDGES), max_size=12).map(" ".join),
    st.builds(lambda unit, times: unit * times, st.text(ALPHABET, min_size=1, max_size=3), st.integers(1, 150)),
)


class Pair:
    """A tokenizer and some trimmed ones, each from a random set of kept tokens."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.vocabulary = read_vocabulary(source, load_config(source))
        self.trimmed = [self._trim(source, folder / str(n), n) for n in range(6)]

    def _trim(self, source: Path, out: Path, seed: int) -> tuple[dict[int, int], Tokenizer, Tokenizer | None]:
        out.mkdir(parents=True)
        (out / "config.json").write_bytes((source / "config.json").read_bytes())
        kept = random_kept(self.vocabulary, seed)
        write_tokenizer(source, out, self.vocabulary, kept)
        backend = load_tokenizer(out).backend_tokenizer
        twin = None
        if any((out / name).is_file() for name in TWINS):
            (out / "alone").mkdir()
            copy_tokenizer(out, out / "alone")
            (out / "alone" / "tokenizer.json").unlink()
            (out / "alone" / "config.json").write_bytes((out / "config.json").read_bytes())
            twin = load_tokenizer(out / "alone").backend_tokenizer
        return {old: new for new, old in enumerate(kept)}, backend, twin


def random_kept(vocabulary: Vocabulary, seed: int) -> list[int]:
    """Specials, some random tokens and what they need, and the lowest score of a Unigram model."""
    draw = random.Random(seed)
    share = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)[seed]
    needs = needs_of(vocabulary)
    chosen = [i for i in range(len(vocabulary.tokens)) if draw.random() < share]
    if vocabulary.family == "Unigram":
        chosen.append(min(range(len(vocabulary.tokens)), key=lambda i: vocabulary.model["vocab"][i][1]))
    if vocabulary.model.get("byte_fallback"):
        chosen += [i for token, i in vocabulary.ids.items() if token.startswith("<0x")]
    return sorted({n for i in chosen for n in needs(i)} | set(vocabulary.specials))


@pytest.fixture(scope="module")
def pair_of(model_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    built: dict[str, Pair] = {}

    def get(family: str) -> Pair:
        if family not in built:
            built[family] = Pair(model_of(family), tmp_path_factory.mktemp(f"pair-{family}"))
        return built[family]

    return get


def differing(pair: Pair, lines: list[str]) -> tuple[int, list[tuple[str, int]]]:
    """How many covered pairs of line and kept set there are, and those that are split otherwise, in either file."""
    covered, wrong = 0, []
    for number, (new_id, backend, twin) in enumerate(pair.trimmed):
        old = encode(pair.vocabulary.backend, lines)
        new = encode(backend, lines)
        alone = encode(twin, lines) if twin is not None else new
        for line, before, after, other in zip(lines, old, new, alone, strict=True):
            if other != after:
                wrong.append((line, number))
            if all(i in new_id for i in before):
                covered += 1
                if [new_id[i] for i in before] != after:
                    wrong.append((line, number))
    return covered, wrong


@pytest.mark.parametrize("family", FAMILIES)
def test_every_covered_line_of_the_corpus_and_of_unicodes_edges_is_split_as_before(pair_of, family):
    lines = pico.TEXT + EDGES + [word for line in pico.TEXT for word in line.split()]
    covered, wrong = differing(pair_of(family), lines)
    assert covered > len(lines) and not wrong


@pytest.mark.parametrize("family", FAMILIES)
def test_every_covered_string_is_split_as_before(pair_of, family):
    pair = pair_of(family)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(STRINGS, min_size=4, max_size=4))
    def check(lines: list[str]) -> None:
        _, wrong = differing(pair, lines)
        assert not wrong

    check()


def test_without_merge_ancestors_a_kept_token_would_be_lost(model_of):
    source = model_of("roberta")
    vocabulary = read_vocabulary(source, load_config(source))
    needs = needs_of(vocabulary)
    ordinary = set(range(len(vocabulary.tokens))).difference(vocabulary.specials)
    longest = max(sorted(ordinary), key=lambda i: len(vocabulary.tokens[i]))
    found = {vocabulary.tokens[i] for i in needs(longest)}
    assert set(vocabulary.tokens[longest]) <= found, "every single symbol is needed"
    assert any(1 < len(token) < len(vocabulary.tokens[longest]) for token in found), "and the steps between"


def test_wordpiece_keeps_the_characters_of_a_token_so_that_no_unknown_word_becomes_known(model_of):
    source = model_of("bert")
    vocabulary = read_vocabulary(source, load_config(source))
    token = next(i for p, i in sorted(vocabulary.ids.items()) if p.startswith("##") and len(p) > 4)
    found = {vocabulary.tokens[i] for i in needs_of(vocabulary)(token)}
    assert found == {vocabulary.tokens[token], *(f"##{c}" for c in vocabulary.tokens[token][2:])}
    assert not unsafe_tokens(vocabulary, range(len(vocabulary.tokens)))
    assert unsafe_tokens(Vocabulary(vocabulary.tokenizer, vocabulary.document, ("##ab",), (), {"##ab": 0}), [0]) == {0}
