"""Data sets by one line: every kind of file, columns and splits found or named, and refusals that say what to write."""

import gzip
import json
from pathlib import Path

import pytest
import yaml

from ndogo.core.errors import NdogoError
from ndogo.registry.corpora import corpus_of
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language
from ndogo.registry.sources import DataSource, _chosen, parse, rows, texts
from ndogo.steps.recipe import validated
from tests.hub import repositories

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
SENTENCES = [{"text": f"maneno {n}", "label": ["bad", "good"][n % 2]} for n in range(60)]


def write(folder: Path, kind: str, found: list[dict], stem: str) -> None:
    """The rows as one file of a kind."""
    names = list(found[0])
    if kind in ("csv", "tsv"):
        mark = "," if kind == "csv" else "\t"
        text = "\n".join(
            mark.join(str(row[n]) for n in names) for row in [dict(zip(names, names, strict=True)), *found]
        )
    else:
        text = "\n".join(json.dumps(row) for row in found)
    file = folder / f"{stem}.{kind}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        file.write_bytes(repositories.parquet(found, {}))
    elif kind.endswith(".gz"):
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text, encoding="utf-8")


def source(folder: Path, line: str = "") -> DataSource:
    return DataSource(repository=str(folder), **(yaml.safe_load(line) if line else {}))


def given(found: DataSource, split: str) -> list[dict]:
    return [row for _, row in rows(found, split, Hub())]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "jsonl.gz", "parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, kind: str):
    for word in SPLITS.values():
        write(tmp_path, kind, SENTENCES, f"data/{word}")
    assert [given(source(tmp_path), split) for split in SPLITS] == [SENTENCES] * 3


def test_columns_labels_and_splits_are_named_by_the_line(tmp_path: Path):
    odd = [{"maoni": row["text"], "alama": n % 2} for n, row in enumerate(SENTENCES)]
    for word in ("mafunzo", "jaribio"):
        write(tmp_path, "csv", odd, f"sw/{word}")
    line = "{text: maoni, label: alama, labels: [bad, good], splits: {train: mafunzo, test: jaribio, dev: own}}"
    found = source(tmp_path, line)
    train, dev = given(found, "train"), given(found, "dev")
    assert sorted(map(json.dumps, train + dev)) == sorted(map(json.dumps, SENTENCES))
    assert 0 < len(dev) < len(train) / 2
    assert given(found, "test") == SENTENCES


def test_numbers_in_a_parquet_schema_become_words(tmp_path: Path):
    features = {"text": repositories.STRING, "label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
    numbered = [{"text": row["text"], "label": n % 2} for n, row in enumerate(SENTENCES)]
    (tmp_path / "test.parquet").write_bytes(repositories.parquet(numbered, features))
    assert given(source(tmp_path), "test") == SENTENCES


LAYOUTS = {
    "xho/train/0000.parquet": ("", "train"),
    "xho/validation/0000.parquet": ("", "dev"),
    "xho/name-test.parquet": ("", "test"),
    "data/xho/dev.tsv": ("", "dev"),
    "xho-train-00000-of-00002.parquet": ("", "train"),
    "v1.0/xho/part_7.parquet": ("", "train"),
    "rows/xho.training.jsonl": ("rows/xho.{split}.jsonl", "train"),
}


@pytest.mark.parametrize("path", LAYOUTS)
def test_layouts_are_understood(path: str):
    files, split = LAYOUTS[path]
    names = [path, path.replace("xho", "zul"), "README.md", "load.py"]
    found = DataSource(repository="a/b", configuration="" if files else "xho", files=files)
    assert _chosen(found, split, names, {}, "a/b") == [path]


CARDS = [
    [{"config_name": "xho", "data_files": "x/*.parquet"}],
    [
        {
            "config_name": "xho",
            "data_files": [{"split": "train", "path": ["x/*.parquet"]}, {"split": "test", "path": "t"}],
        }
    ],
    [{"config_name": "xho", "data_files": {"train": "x/*.parquet"}}, {"config_name": "zul", "data_files": "y/*"}],
]


@pytest.mark.parametrize("configs", CARDS)
def test_a_card_says_which_files_are_a_configuration(configs: list[dict]):
    names = ["x/1.parquet", "x/2.parquet", "y/1.parquet"]
    found = DataSource(repository="a/b", configuration="xho")
    assert _chosen(found, "train", names, {"configs": configs}, "a/b") == names[:2]


REFUSED = {
    "no column for label": ([{"text": "a", "stars": 1}], "", "Name the right one with `label: COLUMN`"),
    "no column `mood`": (SENTENCES, "{label: mood}", "Its columns: text, label"),
    "the label 3, which has no name": ([{"text": "a", "label": 3}], "", "labels: [negative"),
    "No file of": (SENTENCES, "{configuration: xho}", "Say which with `configuration:`, `files:` or `splits:`"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_say_what_to_write(tmp_path: Path, what: str):
    found, line, cure = REFUSED[what]
    write(tmp_path, "jsonl", found, "train")
    with pytest.raises(NdogoError, match=what) as refused:
        given(source(tmp_path, line), "train")
    assert cure in str(refused.value)


BROKEN = {
    "train.jsonl": ('{"text": "a", "label": "b"}\n{"text"', "line 2"),
    "train.parquet": ("PAR1", "after row 0"),
    "train.jsonl.gz": ("{}", "gzip"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_none_is_named_with_its_row(tmp_path: Path, name: str):
    content, place = BROKEN[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(NdogoError, match="cannot be read") as refused:
        given(source(tmp_path), "train")
    assert place in str(refused.value)
    assert name in str(refused.value)


def test_words_that_look_like_holes_or_numbers_stay_words(tmp_path: Path):
    (tmp_path / "train.csv").write_text("text,label\nNA,1\nnan,2\n007,NULL\n", encoding="utf-8")
    assert [list(row.values()) for row in given(source(tmp_path), "train")] == [
        ["NA", "1"],
        ["nan", "2"],
        ["007", "NULL"],
    ]


def test_a_corpus_is_read_from_the_column_that_holds_text(tmp_path: Path):
    write(tmp_path, "parquet", [{"content": "moja\n\n mbili ", "url": "x"}, {"content": "tatu", "url": "y"}], "a")
    assert list(texts(source(tmp_path), Hub())) == ["moja", "mbili", "tatu"]
    with pytest.raises(NdogoError, match="no column `body`"):
        list(texts(source(tmp_path, "{text: body}"), Hub()))


def test_a_corpus_is_named_by_a_path_or_as_a_data_set(tmp_path: Path):
    for split, found in {"train": ["moja\nmbili", "", " tatu "], "test": ["nne"]}.items():
        write(tmp_path, "jsonl", [{"text": text, "n": 1} for text in found], split)
    corpus = corpus_of(f"hf:{tmp_path}")
    assert list(corpus()) == list(corpus()) == ["moja", "mbili", "tatu"]
    assert list(corpus_of(f"hf:{tmp_path}:test")()) == ["nne"]
    assert list(corpus_of(f"hf:{tmp_path}:default:test")()) == ["nne"]
    with pytest.raises(NdogoError, match="No file of"):
        list(corpus_of(f"hf:{tmp_path}:dev")())
    (tmp_path / "a.txt").write_text("moja\n\nmbili\n", encoding="utf-8")
    assert list(corpus_of(str(tmp_path / "a.txt"))()) == ["moja", "mbili"]


def test_what_people_write_in_short():
    assert parse("hf:a/b:xho:train").model_dump(exclude_defaults=True) == {
        "repository": "a/b",
        "configuration": "xho",
        "splits": {"train": "train"},
    }
    with pytest.raises(NdogoError, match="names no data set"):
        parse("hf:a/b:c:d:e")
    entry = Language(name="x", benchmarks={"ner": "hf:a/b:xho", "topic": {"repository": "a/c", "label": "mada"}})
    assert entry.benchmarks["ner"] == DataSource(repository="a/b", configuration="xho")
    assert Language(name="x", benchmarks="folder").benchmarks == "folder"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{ner: {repo: a/b}}", "Field required|Unknown key"),
        ("{ner: {repository: a/b, lables: [x]}}", "Did you mean|Unknown key"),
        ("{ner: {repository: a/b, splits: {valid: x}}}", "there is no split valid"),
        ("{ner: 'a/b'}", "write hf:ID"),
    ],
)
def test_a_line_with_a_mistake_is_refused_with_its_key(line: str, said: str):
    with pytest.raises(NdogoError, match=said) as refused:
        validated(Language, {"name": "x", "benchmarks": yaml.safe_load(line)}, "x.yaml")
    assert "x.yaml" in str(refused.value)
