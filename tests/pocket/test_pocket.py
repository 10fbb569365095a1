"""The pocket world: the same bytes everywhere, rows that are well formed, words that the train split hides, real agreement."""

import hashlib
import itertools
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from ndogo import pocket
from ndogo.core.errors import NdogoError
from ndogo.pocket.generator import CORPUS, HELD_OUT, share
from ndogo.pocket.world import FOLDER, TAGS, world

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
"""sha256 of 2,000 corpus lines and of all benchmark rows; made by `python tests/pocket/golden.py`."""
IOB2 = re.compile(r"O|[BI]-(PER|LOC|ORG)")


@cache
def text(language: str) -> tuple[str, ...]:
    return tuple(pocket.corpus(language, sentences=8_000))


def some(language: str) -> tuple[str, ...]:
    return text(language)[:2_000]


@cache
def rows(language: str, name: str) -> dict[str, list[dict]]:
    return pocket.benchmark(language, name)


def words(language: str, name: str, split: str) -> Counter[str]:
    found = rows(language, name)[split]
    texts = (row.get("text") or " ".join(row["tokens"]) for row in found)
    return Counter(re.findall(r"[^\s.,:]+", " ".join(texts)))


each_language = pytest.mark.parametrize("language", pocket.LANGUAGES)
each_name = pytest.mark.parametrize("name", pocket.BENCHMARKS)


@each_language
def test_the_bytes_are_the_golden_ones(language: str):
    found = hashlib.sha256("\n".join(some(language)).encode())
    for name in pocket.BENCHMARKS:
        found.update(json.dumps(rows(language, name), ensure_ascii=False, sort_keys=True).encode())
    assert found.hexdigest() == GOLDEN[language]


def test_hash_order_does_not_matter():
    code = (
        "from ndogo import pocket; import hashlib as h; t = ' '.join(pocket.corpus('slovak', 3, 300)); "
        "print(h.sha256(t.encode()).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == 64


def test_the_import_is_lean():
    code = "import sys, pocket; list(pocket.corpus('igbo', sentences=3)); print({'torch', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "set()\n"


@each_language
def test_seeds_differ_and_text_is_composed(language: str):
    assert some(language)[:50] != tuple(pocket.corpus(language, 1, 50))
    assert all(unicodedata.is_normalized("NFC", line) for line in some(language))
    assert len(set(some(language))) > 0.97 * len(some(language))
    assert not any(sign in line for line in some(language) for sign in "{}_+=")


@each_language
def test_held_out_lines_never_occur_in_a_corpus(language: str):
    held = list(pocket.held_out(language, 200))
    assert {share(line) for line in held} == {HELD_OUT}
    assert {share(line) for line in some(language)} <= set(CORPUS)


@each_language
@each_name
def test_rows_are_well_formed_and_texts_are_new(language: str, name: str):
    splits = rows(language, name)
    assert list(splits) == ["train", "dev", "test"]
    texts = [row.get("text") or " ".join(row["tokens"]) for found in splits.values() for row in found]
    assert len(set(texts)) == len(texts) == 520
    keys = {"text", "label"} if name in ("sentiment", "topic") else {"tokens", "tags"}
    for row in itertools.chain(*splits.values()):
        assert set(row) == keys
        assert "tokens" not in row or len(row["tokens"]) == len(row["tags"]) > 0


@each_language
def test_entities_are_iob2(language: str):
    for row in itertools.chain(*rows(language, "ner").values()):
        assert all(IOB2.fullmatch(tag) for tag in row["tags"])
        for before, tag in itertools.pairwise(["O", *row["tags"]]):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


@each_language
def test_tags_are_upos(language: str):
    allowed = {*TAGS.values(), "ADP", "AUX", "CCONJ", "SCONJ", "DET", "PART", "PRON", "PUNCT"}
    assert {tag for found in rows(language, "pos").values() for row in found for tag in row["tags"]} <= allowed


@each_language
def test_labels_are_balanced(language: str):
    for name, labels in (("sentiment", 2), ("topic", 5)):
        for split, found in rows(language, name).items():
            counts = Counter(row["label"] for row in found)
            assert len(counts) == labels and max(counts.values()) - min(counts.values()) <= 1, split
    kinds = Counter(tag for row in rows(language, "ner")["test"] for tag in row["tags"] if tag.startswith("B-"))
    assert min(kinds.values()) > 0.2 * sum(kinds.values())


@each_language
@each_name
def test_the_train_split_hides_most_test_words(language: str, name: str):
    """Of the words of the lists that stand in test most are missing from train, and the corpus knows them."""
    shown, asked = words(language, name, "train"), words(language, name, "test")
    function = {word.lower() for word in world(language).functions}
    content = {word for word in asked if word.lower() not in function and len(word) > 2 and word[-1] != "-"}
    unseen = {word for word in content if word not in shown}
    assert len(unseen) > 0.5 * len(content)
    lines = " ".join(text(language))
    known = set(re.findall(r"[^\s.,:]+", lines)) | set(re.findall(r"[^\s.,:-]+", lines))
    assert len(unseen & known) > 0.85 * len(unseen)


@each_language
def test_names_have_more_than_one_role(language: str):
    roles: dict[str, set[str]] = {}
    for row in itertools.chain(*rows(language, "ner").values()):
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            if token[0].isupper():
                roles.setdefault(token, set()).add(tag)
    assert sum(len(found) > 1 for found in roles.values()) >= 20


@each_language
def test_lists_are_long_enough(language: str):
    lexemes = {entry[0].forms[0] for found in world(language).words.values() for entry in found}
    assert len(lexemes) >= 400
    assert (FOLDER / f"{language}.yaml").stat().st_size < 40_000


AGREEMENT = {
    "swahili": [
        (r"\b[Kk]itabu (hiki|hicho|huu|hii|hili|haya|hizi|wa|ya|la|cha|vya|za) ", {"hiki", "cha"}),
        (r"\b[Vv]itabu (hiki|huu|hii|hili|haya|hivi|hizi|wa|ya|la|cha|vya|za) ", {"hivi", "vya"}),
        (r"\b[Vv]i\w+ hivi ni (\w*zuri)", {"vizuri"}),
        (r"(?<!na )\b[Mm]walimu (ana|wana|ina|zina)", {"ana"}),
    ],
    "kinyarwanda": [
        (r"\b[Ii]gitabo (aba|iyi|aya|iki|ibi|izi|uru) ", {"iki"}),
        (r"\b[Ii]bitabo (aba|iyi|aya|iki|ibi|izi|uru) ", {"ibi"}),
        (r"\b[Aa]bana (a|ba)ra\w+", {"ba"}),
    ],
    "hausa": [
        (r"(?<!a )\b[Mm]ace (ya|ta|yana|tana|zai|za) ", {"ta", "tana", "za"}),
        (r"(?<!a )\b[Uu]ba (ya|ta|yana|tana|zai|za) ", {"ya", "yana", "zai"}),
    ],
    "slovak": [
        (r"\b(\w{4}) (?=kniha je )", {"Táto", "táto"}),
        (r"[Tt]áto \w+ je dobr(\w)", {"á"}),
        (r"[Tt]ento \w+ je dobr(\w)", {"ý"}),
        (r"[Tt]oto \w+ je krásn(\w)", {"e"}),
        (r"\b[Ss]estra \w+va(l\w?) ", {"la"}),
    ],
    "maltese": [
        (r"[Dd]in i\w-\w+ hija (tajb\w*|tajjeb)", {"tajba"}),
        (r"[Dd]an il-\w+ huwa (tajb\w*|tajjeb)", {"tajjeb"}),
        (r"\b(i\w+)-xufier\b", {"ix"}),
        (r"\b(i\w+)-dar\b", {"id"}),
    ],
    "english": [
        (r"\b[Tt]hese \w+s (is|are|was|were)\b", {"are", "were"}),
        (r"\b[Tt]his house (is|are|was|were)\b", {"is", "was"}),
        (r"\b(an?) airline\b", {"an"}),
    ],
}


@pytest.mark.parametrize("language", AGREEMENT)
def test_words_agree(language: str):
    lines = " ".join(text(language))
    for pattern, allowed in AGREEMENT[language]:
        found = set(re.findall(pattern, lines))
        assert found and found <= allowed, f"{pattern}: {sorted(found)}"


@pytest.mark.parametrize(
    ("language", "signs"),
    [("yoruba", "ẹọṣ"), ("igbo", "ịọụ"), ("hausa", "ɗƙ"), ("maltese", "ħġżċ"), ("slovak", "čľťžš")],
)
def test_the_orthography_is_the_real_one(language: str, signs: str):
    lines = unicodedata.normalize("NFC", " ".join(some(language)))
    assert set(signs) <= set(lines)


def test_tagalog_verbs_show_the_focus():
    lines = " ".join(text("tagalog"))
    assert re.search(r"[Bb]umili ang \w+ ng ", lines)
    assert re.search(r"[Bb]inili ng \w+ ang ", lines)


def test_what_is_not_there_is_said():
    with pytest.raises(NdogoError, match="no pocket language 'klingon'"):
        next(pocket.corpus("klingon"))
    with pytest.raises(NdogoError, match="no pocket benchmark 'qa'"):
        pocket.benchmark("igbo", "qa")
