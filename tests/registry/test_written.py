"""CSV with a header and CoNLL columns, as people write them, and every fault with its file and line."""

import gzip
from pathlib import Path

import pytest

from ndogo.core.errors import NdogoError
from ndogo.registry.benchmarks import benchmarks, labelled
from ndogo.registry.languages import Language, add_language
from ndogo.registry.written import numbered

CONLL = """-DOCSTART- -X- O O

Asha NNP B-NP B-PER
anakula VBZ B-VP O

# maoni
Dodoma NNP B-NP B-LOC
. . O O
"""


def read(folder: Path, name: str, content: str | bytes) -> list:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(numbered(file, name.removesuffix(".gz").rpartition(".")[2]))


@pytest.mark.parametrize("name", ["a.conll", "a.bio", "a.conll.gz"])
def test_conll_columns_become_texts_with_the_line_where_they_begin(tmp_path, name):
    content = gzip.compress(CONLL.encode()) if name.endswith(".gz") else CONLL.encode()
    assert read(tmp_path, name, content) == [
        (3, {"tokens": ["Asha", "anakula"], "tags": ["B-PER", "O"]}),
        (7, {"tokens": ["Dodoma", "."], "tags": ["B-LOC", "O"]}),
    ]


def test_tabs_and_windows_line_ends_are_read(tmp_path):
    text = "\ufeffNew York\tB-LOC\r\nni\tO\r\n\r\nHapana\tO"
    assert [row["tokens"] for _, row in read(tmp_path, "a.conll", text)] == [["New York", "ni"], ["Hapana"]]


def test_csv_values_stay_as_they_are_written(tmp_path):
    text = 'text,label\n"habari, ""njema""",NA\n"mistari\nmiwili",good\n\nsawa,01\n'
    assert read(tmp_path, "a.csv", text) == [
        (2, {"text": 'habari, "njema"', "label": "NA"}),
        (3, {"text": "mistari\nmiwili", "label": "good"}),
        (6, {"text": "sawa", "label": "01"}),
    ]
    assert read(tmp_path, "a.tsv", 'text\tlabel\n"wazi\tgood\n') == [(2, {"text": '"wazi', "label": "good"})]


FAULTS = {
    "a word without a tag": ("a.conll", "Asha B-PER\nanakula\n", "Not 2 columns", ", line 2"),
    "one column": ("a.conll", "Asha\nanakula\n", "Not a word and its tag: 'Asha'", ", line 1"),
    "more columns than before": ("a.conll", "Asha B-PER\n\nni sasa O\n", "Not 2 columns", ", line 3"),
    "an empty tag": ("a.conll", "Asha\tB-PER\nni\t\n", "Not 2 columns", ", line 2"),
    "CoNLL that is not UTF-8": ("a.conll", b"Asha B-PER\n\n\xff\xfe O\n", "not UTF-8", ", after line"),
    "a damaged archive": ("a.conll.gz", b"\x1f\x8b\x08\x00broken", "cannot be read", ", after line 0"),
    "too few values": ("a.csv", "text,label\nsawa,good\nmbaya\n", "names 2 columns, and this row has 1", ", line 3"),
    "too many values": ("a.csv", "text,label\nsawa, kabisa,good\n", "names 2 columns, and this row has 3", ", line 2"),
    "an open quotation mark": ("a.csv", 'text,label\n"sawa,good\n', "This is not CSV", ", line 2"),
    "text behind a quotation mark": ("a.csv", 'text,label\n"sawa"x,good\n', "This is not CSV", ", line 2"),
    "a column without a name": ("a.csv", "text,\nsawa,good\n", "a column without a name", ", line 1"),
    "one name twice": ("a.csv", "text,text\nsawa,good\n", "one name twice", ", line 1"),
    "no header": ("a.csv", "", "The file is empty", "a.csv"),
    "CSV that is not UTF-8": ("a.csv", b"text,label\nsawa,\xff\n", "not UTF-8", ", after line"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_refused_with_file_and_line(tmp_path, fault):
    name, content, said, where = FAULTS[fault]
    with pytest.raises(NdogoError, match=said) as refused:
        read(tmp_path, name, content)
    assert where in str(refused.value.where) and str(tmp_path) in str(refused.value.where)


WRONG_ROWS = {
    "an empty label": ("topic", "csv", "text,label\nsawa,good\nhapana,\n", "another form", "train.csv, line 3"),
    "no column of labels": ("topic", "csv", "text,stars\nsawa,5\n", "no column for label", "train.csv"),
    "two schemes": ("ner", "conll", "Asha B-PER\nni O\nYeye S-PER\n", "BIOES does not allow", "train.conll, line 1"),
}


@pytest.mark.parametrize("fault", WRONG_ROWS)
def test_a_row_that_is_no_row_of_its_benchmark_is_refused_with_its_line(tmp_path, fault):
    kind, ending, content, said, where = WRONG_ROWS[fault]
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.{ending}").write_text(content)
    with pytest.raises(NdogoError, match=said) as refused:
        labelled(kind, str(tmp_path))
    assert where in str(refused.value.where)


def test_a_language_of_ones_own_has_its_rows_as_conll_and_csv(tmp_path, pico_model):
    text = tmp_path / "text.txt"
    text.write_text("habari njema\n")
    for kind, ending, content in (
        ("ner", "conll", "Asha S-PER\nanakula O\n"),
        ("topic", "csv", "text,label\nsawa,good\nmbaya,bad\n"),
    ):
        (tmp_path / "rows" / kind).mkdir(parents=True)
        for split in ("train", "dev", "test"):
            (tmp_path / "rows" / kind / f"{split}.{ending}").write_text(content)
    teacher, rows = str(pico_model("xlmr")), str(tmp_path / "rows")
    add_language(Language(name="mine", corpus=str(text), teacher=teacher, benchmarks=rows))
    read = {found.name: found for found in benchmarks("mine", "local")}
    assert read["ner"].splits["dev"][0].tags == ("B-PER", "O") and read["topic"].labels == ("bad", "good")
    assert "1 of 2 tags changed" in read["ner"].notes[0]
