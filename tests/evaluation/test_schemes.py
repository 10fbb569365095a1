"""Each scheme of entity tags, and what is no scheme, as a table."""

import pytest

from ndogo.core.errors import NdogoError
from ndogo.evaluation import checked
from ndogo.evaluation.schemes import as_iob2

IOB2 = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "O", "B-ORG", "I-ORG", "I-ORG"]
SCHEMES = {
    "IOB2": (IOB2, ""),
    "IOB1": (["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "O", "I-ORG", "I-ORG", "I-ORG"], "IOB1", 3),
    "BIOES": (["B-PER", "E-PER", "O", "S-LOC", "S-LOC", "O", "B-ORG", "I-ORG", "E-ORG"], "BIOES", 4),
    "BILOU": (["B-PER", "L-PER", "O", "U-LOC", "U-LOC", "O", "B-ORG", "I-ORG", "L-ORG"], "BIOES", 4),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_becomes_iob2_with_a_count_of_what_changed(scheme):
    tags, said, *count = SCHEMES[scheme]
    made, told = as_iob2("ner", [("a.conll, line 1", tags), ("a.conll, line 11", ["O"])])
    assert made == [IOB2, ["O"]]
    assert told == ([f"a.conll: {said} was turned into IOB2: {count[0]} of 10 tags changed"] if said else [])


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (["PER"], "`PER` is not an IOB2 tag"),
        (["B-"], "`B-` is not an IOB2 tag"),
        (["X-PER"], "`X-PER` is not an IOB2 tag"),
        (["B-PER", "O", "S-LOC"], "`O` follows `B-PER`, which BIOES does not allow"),
        (["S-PER", "E-PER"], "`E-PER` follows `S-PER`"),
        (["B-PER", "E-LOC"], "`E-LOC` follows `B-PER`"),
        (["O", "I-PER", "E-PER"], "`I-PER` follows `O`"),
        (["S-PER", "B-LOC"], "has no end: `B-LOC`"),
        (["B-PER", "O", "I-LOC"], "`I-LOC` does not continue an entity"),
    ],
)
def test_what_is_no_scheme_or_two_is_refused_with_its_line(tags, said):
    with pytest.raises(NdogoError, match=said) as refused:
        as_iob2("ner", [("a.conll, line 7", tags)])
    assert refused.value.where == "a.conll, line 7" and refused.value.cure


def test_a_few_stray_tags_open_an_entity_and_are_told():
    rows = [(f"a.jsonl, line {n}", ["B-PER", "O"]) for n in range(200)] + [("a.jsonl, line 200", ["O", "I-LOC"])]
    made, told = as_iob2("ner", rows)
    assert made[-1] == ["O", "B-LOC"]
    assert told == ["a.jsonl, line 200: `I-LOC` continues nothing; read as the start of an entity"]


def test_a_benchmark_notes_what_was_turned():
    row = [("f.conll, line 1", {"tokens": ["Asha", "Juma"], "tags": ["S-PER", "O"]})]
    read = checked("ner", {"train": row, "dev": row, "test": row})
    assert read.labels == ("O", "B-PER", "I-PER") and read.splits["test"][0].tags == ("B-PER", "O")
    assert read.notes == ("f.conll: BIOES was turned into IOB2: 1 of 2 tags changed",) * 3
