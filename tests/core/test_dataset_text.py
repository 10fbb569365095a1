"""A Hugging Face dataset as a corpus; local ones, since tests reach no network."""

import json

import datasets
import pytest

from ndogo.core.errors import NdogoError
from ndogo.core.text import corpus_of


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    for split, texts in {"train": ["moja\nmbili", "", " tatu "], "test": ["nne"]}.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps({"text": t, "n": 1}) + "\n" for t in texts))
    return folder


def test_a_dataset_is_read_line_by_line_and_again(dataset):
    corpus = corpus_of(f"hf:{dataset}")
    assert list(corpus()) == list(corpus()) == ["moja", "mbili", "tatu"]
    assert list(corpus_of(f"hf:{dataset}:test")()) == ["nne"]
    assert list(corpus_of(f"hf:{dataset}:default:test")()) == ["nne"]


def test_a_path_is_read_as_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("moja\n\nmbili\n")
    assert list(corpus_of(str(tmp_path / "a.txt"))()) == ["moja", "mbili"]


def test_what_is_no_dataset_is_refused(dataset, tmp_path):
    with pytest.raises(NdogoError, match="names no dataset"):
        corpus_of("hf:a:b:c:d")
    with pytest.raises(NdogoError, match="cannot be read"):
        list(corpus_of(f"hf:{tmp_path / 'missing'}")())
    with pytest.raises(NdogoError, match="cannot be read"):
        list(corpus_of(f"hf:{dataset}:dev")())
    (dataset / "train.jsonl").write_text('{"n": 1}\n')
    (dataset / "test.jsonl").write_text('{"n": 1}\n')
    with pytest.raises(NdogoError, match="no text column"):
        list(corpus_of(f"hf:{dataset}")())
