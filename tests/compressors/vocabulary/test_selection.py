"""Which tokens stay."""

import json
from fractions import Fraction

import pytest
from pydantic import ValidationError

from ndogo.compressors.vocabulary import Wanted
from ndogo.compressors.vocabulary.selection import script_of, script_shares, select, surface
from ndogo.compressors.vocabulary.source import read_vocabulary
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_tokenizer
from ndogo.steps.kinds.trim import Trim
from tests import pico

SWAHILI = pico.TEXT[:4] * 9


def kept_tokens(out):
    return set(load_tokenizer(out).get_vocab())


@pytest.mark.parametrize(("family", "size"), [("xlmr", 120), ("bert", 150), ("roberta", 350), ("gemma", 420)])
def test_the_size_counts_ordinary_tokens_and_specials_come_on_top(model_of, trimmed, family, size):
    source = model_of(family)
    _, numbers = trimmed(source, size=size)
    assert numbers["pieces_after"] == size + len(load_tokenizer(source).added_tokens_decoder)
    assert not numbers["fewer_than_asked"]


def test_a_fraction_is_of_the_ordinary_tokens(model_of, trimmed):
    source = model_of("xlmr")
    _, numbers = trimmed(source, size=Fraction(2, 3))
    assert numbers["pieces_after"] == round((len(load_tokenizer(source)) - 5) * 2 / 3) + 5


def test_a_corpus_that_uses_fewer_tokens_keeps_only_those_and_the_certificate_says_so(model_of, trimmed):
    out, numbers = trimmed(model_of("xlmr"), text=SWAHILI, size=10_000)
    assert numbers["fewer_than_asked"] and numbers["pieces_after"] - 5 < numbers["pieces_before"] - 5
    assert "10,000 pieces were asked for, but the corpus uses only" in (out / "certificate.md").read_text()
    used = {p for line in SWAHILI for p in load_tokenizer(model_of("xlmr")).tokenize(line)}
    assert used <= kept_tokens(out)


@pytest.mark.parametrize("family", ["xlmr", "bert", "roberta", "gemma"])
def test_a_coverage_is_reached(model_of, trimmed, family):
    _, numbers = trimmed(model_of(family), coverage=0.97)
    assert numbers["counted_coverage"] >= 0.97 and numbers["pieces_after"] < numbers["pieces_before"]


def test_a_coverage_takes_no_more_tokens_than_needed(model_of, trimmed):
    _, numbers = trimmed(model_of("xlmr"), coverage=0.97)
    _, less = trimmed(model_of("xlmr"), name="less", size=numbers["pieces_after"] - numbers["specials"] - 1)
    assert less["counted_coverage"] < 0.97 <= numbers["counted_coverage"]


@pytest.mark.parametrize("family", ["xlmr", "roberta"])
def test_rows_are_filled_up_to_a_multiple_with_real_tokens(model_of, trimmed, family):
    size = 100 if family == "xlmr" else 330
    out, numbers = trimmed(model_of(family), size=size, multiple_of=64)
    assert numbers["rows_after"] % 64 == 0 and numbers["rows_after"] == len(load_tokenizer(out)) >= size + 5
    few, numbers = trimmed(model_of(family), text=["a"], name="few", size=10_000, multiple_of=32)
    assert numbers["rows_after"] % 32 == 0 and len(load_tokenizer(few)) == numbers["rows_after"]
    with pytest.raises(NdogoError, match="too few tokens to fill"):
        trimmed(model_of(family), name="over", coverage=1.0, multiple_of=10_000)


def test_characters_digits_and_punctuation_of_the_scripts_seen_always_stay(model_of, trimmed):
    source = model_of("xlmr")
    out, numbers = trimmed(source, text=SWAHILI, coverage=0.2)
    single = {p for p in load_tokenizer(source).get_vocab() if len(p) == 1}
    assert {p for p in single if p.isascii() or script_of(p) == "LATIN" or p == "▁"} <= kept_tokens(out)
    assert numbers["held_out.unknown_after"] == 0


@pytest.mark.parametrize("family", ["roberta", "gemma"])
def test_every_byte_can_always_be_written(model_of, trimmed, family):
    out, _ = trimmed(model_of(family), text=["a"], coverage=0.01)
    tokenizer = load_tokenizer(out)
    text = "孩子 \x07 😀 ẹ̀"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_a_script_counts_as_seen_from_a_thousandth_of_the_letters(model_of):
    vocabulary = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    import numpy as np

    counts = np.zeros(len(vocabulary.tokens))
    counts[vocabulary.ids["a"]] = 1
    assert script_shares(vocabulary, counts) == {"LATIN": 1.0}
    assert (script_of("a"), script_of("д"), script_of("孩"), script_of("\u0301"), script_of("7")) == (
        "LATIN",
        "CYRILLIC",
        "CJK",
        "COMBINING",
        "",
    )


def test_the_surface_of_a_token_is_what_it_writes(model_of):
    def of(family, token):
        return surface(read_vocabulary(model_of(family), load_config(model_of(family))), token)

    assert (of("bert", "##a"), of("roberta", "Ġ"), of("roberta", "Ã¡"), of("roberta", "Ã")) == ("a", " ", "á", "")


def test_the_keep_list_takes_tokens_and_spells_what_is_none(model_of, trimmed):
    source = model_of("xlmr")
    rare = [p for line in pico.TEXT[7:8] for p in load_tokenizer(source).tokenize(line) if len(p) > 1]
    without, _ = trimmed(source, text=SWAHILI, name="without", coverage=0.5)
    assert not set(rare) <= kept_tokens(without)
    out, _ = trimmed(source, text=SWAHILI, coverage=0.5, keep=(rare[0], pico.TEXT[7]))
    assert set(rare) <= kept_tokens(out)
    with pytest.raises(NdogoError, match="cannot spell"):
        trimmed(source, name="no", coverage=0.5, keep=("孩",))


def test_equal_counts_go_by_the_lower_id(model_of):
    import numpy as np

    vocabulary = read_vocabulary(model_of("xlmr"), load_config(model_of("xlmr")))
    weighted = np.ones(len(vocabulary.tokens))
    chosen = select(vocabulary, weighted, Wanted(size=150))
    forced = set(select(vocabulary, weighted, Wanted(coverage=1e-9)).kept)
    free = [i for i in range(len(vocabulary.tokens)) if i not in forced]
    assert list(chosen.kept) == sorted(forced | set(free[: 150 + 5 - len(forced)]))


def test_a_size_and_a_coverage_together_are_refused():
    with pytest.raises(ValidationError, match="exactly one of size and coverage"):
        Trim(size=100, coverage=0.9)


def test_scripts_are_in_the_certificate(model_of, trimmed):
    out, _ = trimmed(model_of("xlmr"), text=SWAHILI, coverage=0.9)
    found = json.loads((out / "certificate.json").read_text())
    assert found["scripts"] == {"LATIN": 1.0} and found["valid"] is True
