"""YAML and JSON that people give: what is read, and what is refused with a place."""

import os
from pathlib import Path

import pytest

from ndogo.core.documents import parse_json, parse_yaml, read_file, read_json, read_yaml
from ndogo.core.errors import NdogoError

BAD_YAML = {
    "a: 1\na: 2": "stands there twice.*\n.*line 2",
    "a: {b: 1, b: 1}": "stands there twice",
    "a: .inf": "no finite number",
    "a: -.inf": "no finite number",
    "a: .nan": "no finite number",
    "a: 1.0e+999": "no finite number",
    "a: &x 1": "anchors and references",
    "a: [&x [1], *x, *x]": "anchors and references",
    "a: !!python/object/apply:os.system [ls]": "types such as",
    "a: !!float x": "types such as",
    "? [a]\n: b": "a key is a word",
    "[" * 200_000: "more than 32 deep",
    "- " * 50_000 + "a": "more than 32 deep",
    "a: " + "9" * 5000: "not YAML",
    'a: "\\ud800"': "half a letter",
    'a: "\\UFFFFFFFF"': "not YAML",
    "a: \x00": "not YAML",
    "a: 0x_": "not YAML",
    "---\na\n---\nb": "another document",
    "a: [": "not YAML.*\n.*line 1",
    "a" * 300_000: "too long",
}
BAD_JSON = {
    '{"a": 1, "a": 2}': "stands there twice",
    '{"a": NaN}': "no number",
    '{"a": -Infinity}': "no number",
    '{"a": 1e999}': "no finite number",
    "[" * 100_000: "nested more than",
    "[" * 60 + "]" * 60: "nested more than",
    '"\\ud800"': "half a letter",
    "9" * 5000: "not JSON",
    "": "not JSON",
}


@pytest.mark.parametrize("text", BAD_YAML, ids=lambda text: text[:20])
def test_yaml_that_is_more_than_plain_values_is_refused(text: str):
    with pytest.raises(NdogoError, match=BAD_YAML[text]):
        parse_yaml(text, where="given.yaml")


@pytest.mark.parametrize("text", BAD_JSON, ids=lambda text: text[:20])
def test_json_that_is_more_than_plain_values_is_refused(text: str):
    with pytest.raises(NdogoError, match=BAD_JSON[text]):
        parse_json(text, where="given.json")


def test_plain_values_are_read_as_yaml_1_2_has_them():
    found = parse_yaml("{a: yes, b: true, c: 2024-01-01, d: [1, 2.5, ~], 1: x}", where="")
    assert found == {"a": "yes", "b": True, "c": "2024-01-01", "d": [1, 2.5, None], 1: "x"}


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(10 * 2**30)
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    refused = {
        "pipe": "no regular file",
        "none": "not there",
        "sparse": "too large: 10,737,418,240 bytes",
        "latin": "not UTF-8",
        "a\x00b": "cannot be read",
        "x" * 300: "cannot be read",
    }
    for name, said in refused.items():
        for read in (read_yaml, read_json):
            with pytest.raises(NdogoError, match=said):
                read(tmp_path / name)
    with pytest.raises(NdogoError, match="no regular file"):
        read_yaml(Path("/dev/zero"))
    assert read_file(tmp_path / "latin", 10) == b"a: \xe9"
