"""Corpora: held-out lines stay out, groups are mixed by weight, fingerprints follow the text."""

from fractions import Fraction
from pathlib import Path

import pytest

from ndogo import pocket
from ndogo.core.errors import NdogoError
from ndogo.evaluation import refuse_overlap
from ndogo.registry.corpora import corpus, default_profile
from ndogo.registry.languages import Language, add_language, language
from tests import tiny


@pytest.fixture
def added(tmp_path: Path, pico_model) -> Path:
    text, _ = tiny.write(tmp_path / "tiny")
    text.write_text(text.read_text() + "\n".join(line.upper() + " !" for line in tiny.lines()), encoding="utf-8")
    add_language(Language(name="tiny", corpus=str(text), teacher=str(pico_model("xlmr"))))
    return text


def test_held_out_lines_never_occur_in_training_text_however_they_are_spelt(added: Path):
    found = corpus("tiny", "local")
    lines, apart = list(found.lines()), [*found.validation(), *found.held_out()]
    assert len(lines) + len(apart) == 2 * len(tiny.lines())
    assert len(apart) >= 4
    assert refuse_overlap(lambda: iter(apart), [found.lines]) > 0


def test_choosing_and_judging_read_different_lines(added: Path):
    found = corpus("tiny", "local")
    assert list(found.validation()) and refuse_overlap(found.held_out, [found.validation]) > 0


def test_a_pocket_model_is_judged_on_lines_that_neither_it_nor_the_pocket_teacher_read():
    """The teacher read every line of the corpora: those kept from a student's training are no held-out text for it."""
    found = corpus("swahili", "pocket")
    assert list(found.held_out()) == list(pocket.held_out("swahili"))
    assert refuse_overlap(found.held_out, [found.lines, found.validation]) > 500
    assert list(found.validation()), "steps that choose when to stop still have lines of the corpus"


def test_the_fingerprint_follows_the_text(added: Path):
    before = corpus("tiny", "local").fingerprint()
    assert corpus("tiny", "local").fingerprint() == before
    added.write_text(added.read_text() + "\nmstari mpya\n", encoding="utf-8")
    assert corpus("tiny", "local").fingerprint() != before


def test_an_added_language_is_local_by_itself(added: Path, monkeypatch: pytest.MonkeyPatch):
    assert default_profile(language("tiny")) == "local"
    assert default_profile(language("swahili")) == "pocket"
    monkeypatch.setenv("NDOGO_PROFILE", "hub")
    assert default_profile(language("swahili")) == "hub"


def test_a_group_gives_each_member_its_share():
    members = corpus("comet-five", "pocket")
    swahili = set(corpus("swahili", "pocket").lines())
    first = [line in swahili for _, line in zip(range(500), members.lines(), strict=False)]
    assert 80 <= sum(first) <= 140
    assert members.fingerprint() != corpus("swahili", "pocket").fingerprint()


def test_a_part_is_taken_of_each_member():
    lines = list(corpus("comet-five", "pocket", part=7).lines())
    assert len(lines) == len(set(lines)) == 5 * 7
    assert len(set(lines) & set(corpus("swahili", "pocket").lines())) == 7


def test_a_part_of_the_training_text_is_judged_on_all_held_out_lines(added: Path):
    whole, part = corpus("tiny", "local"), corpus("tiny", "local", part=7)
    assert len(list(part.lines())) == 7 and list(part.held_out()) == list(whole.held_out())
    assert list(part.validation()) == list(whole.validation())


def test_a_part_has_a_fingerprint_of_its_own(added: Path):
    parts = [None, 1, Fraction(1), Fraction(1, 2)]
    assert len({corpus("tiny", "local", part=part).fingerprint() for part in parts}) == 4


def test_the_local_profile_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("NDOGO_DATA", raising=False)
    with pytest.raises(NdogoError, match="NDOGO_DATA"):
        corpus("swahili", "local")
    monkeypatch.setenv("NDOGO_DATA", str(tmp_path))
    with pytest.raises(NdogoError, match="no text of swahili"):
        corpus("swahili", "local")
