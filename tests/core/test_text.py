"""Corpora as people have them: what cannot be text is refused with its line, whatever the format."""

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from ndogo.core import text as module
from ndogo.core.errors import NdogoError
from ndogo.core.text import WeightedLines, part_of, read_lines


def jsonl(*values: object) -> bytes:
    return "\n".join(json.dumps({"text": value}) for value in ("Habari.", *values)).encode()


PACKED = gzip.compress(b"Habari ya leo.\n" * 2000, mtime=0)
DAMAGED = PACKED[:40] + bytes([PACKED[40] ^ 255]) + PACKED[41:]
BAD = {
    "long-line.txt": (b"a " * 600_000, "line has more than 1,000,000 letters"),
    "endless-line.txt": (b"a" * 5_000_000, "line has more than"),
    "bomb.txt.gz": (gzip.compress(b"\0" * 50_000_000), "line has more than"),
    "long-word.txt": (b"good\n" + b"a" * 200_000, "word has more than 100,000 letters.*\n.*line 2"),
    "latin.txt": ("Habari.\nCafé".encode("latin-1"), "Line 2 is not UTF-8"),
    "cut.txt.gz": (PACKED[:-9], "cannot be read"),
    "damaged.txt.gz": (DAMAGED, "cannot be read"),
    "not.txt.gz": (b"Habari", "cannot be read"),
    "zero-width.txt": ("\u200b\n\ufeff\u200d \n\u00ad\n\x00".encode(), "The corpus is empty"),
    "list.jsonl": (jsonl(["a"]), "is a list.*\n.*line 2"),
    "nan.jsonl": (jsonl(float("nan")), "is a float.*\n.*line 2"),
    "nulls.jsonl": (b'{"text": null}', "The corpus is empty"),
    "half.jsonl": (jsonl("\ud800"), "half a letter.*\n.*line 2"),
    "deep.jsonl": (b"[" * 100_000, "not a JSON object.*\n.*line 1"),
    "array.jsonl": (b"[1]", "not a JSON object"),
    "other.jsonl": (b'{"content": "a"}', "not a JSON object"),
    "not.parquet": (b"PAR1", "cannot be read"),
}
COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "numbers": ({"text": [1, 2]}, "is a int"),
    "lists": ({"text": [["a"]]}, "is a list"),
    "structs": ({"text": [{"a": 1}]}, "is a dict"),
    "none": ({"other": ["a"]}, "no text column"),
    "nulls": ({"text": [None, None]}, "The corpus is empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_text_is_refused_with_its_place(name: str, tmp_path: Path):
    content, said = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NdogoError, match=said) as refused:
        list(read_lines(tmp_path / name))
    assert name in refused.value.where


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_that_is_no_text_is_refused(name: str, tmp_path: Path):
    columns, said = COLUMNS[name]
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(NdogoError, match=said):
        list(read_lines(tmp_path / "a.parquet"))


def test_a_damaged_page_is_refused(tmp_path: Path):
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"text": [f"Habari {n}." for n in range(500)]}), file)
    content = bytearray(file.read_bytes())
    content[4:60] = bytes(56)
    file.write_bytes(content)
    with pytest.raises(NdogoError, match="cannot be read"):
        list(read_lines(file))


def test_a_desert_of_empty_lines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "EMPTY_LINES", 1000)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a\n" + b"\n" * 2000))
    with pytest.raises(NdogoError, match="1,001 lines in a row are empty"):
        list(read_lines(tmp_path / "a.txt.gz"))


def test_rows_without_text_are_like_empty_lines(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(None, "", "Leo."))
    assert list(read_lines(tmp_path / "a.jsonl")) == ["Habari.", "Leo."]


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1e300])
def test_a_weight_is_a_number_above_0(weight: float):
    with pytest.raises(NdogoError, match="A weight is above 0"):
        WeightedLines(lambda: iter(["a"]), weight)


@pytest.mark.parametrize(
    ("size", "kept"),
    [(3, "dgj"), (Fraction(3, 10), "dgj"), (99, "abcdefghij"), (None, "abcdefghij"), (Fraction(1, 100), "j")],
)
def test_a_part_of_a_text_is_spread_evenly_over_it(size: int | Fraction | None, kept: str):
    part = part_of(lambda: iter("abcdefghij"), size)
    assert ["".join(part()), "".join(part())] == [kept, kept]
