import gzip
import json

import pytest

from ndogo.core.errors import NdogoError
from ndogo.evaluation.rows import UPOS, Broken, Sentence, Tagged, checked, collect, read_local


def place(rows):
    return [(f"file.jsonl, line {i}", row) for i, row in enumerate(rows, 1)]


def splits(train, dev=None, test=None):
    return {"train": place(train), "dev": place(dev or train), "test": place(test or train)}


TEXTS = [{"text": "habari njema", "label": "good"}, {"text": "habari mbaya", "label": "bad"}]
PEOPLE = [{"tokens": ["Asha", "Juma", "anakula"], "tags": ["B-PER", "I-PER", "O"]}]


def test_rows_become_a_benchmark_with_its_labels_in_order():
    read = checked("topic", splits(TEXTS))
    assert read.kind == "classes" and read.labels == ("bad", "good")
    assert read.splits["dev"][0] == Sentence("habari njema", "good")
    assert checked("ner", splits(PEOPLE)).labels == ("O", "B-PER", "I-PER")
    assert checked("pos", splits([{"tokens": ["Asha"], "tags": ["PROPN"]}])).labels == UPOS
    assert checked("pos", splits([{"tokens": ["Asha"], "tags": ["NN"]}])).labels == ("NN",)


def test_the_fingerprint_is_that_of_the_content():
    assert checked("topic", splits(TEXTS)).fingerprint() == checked("topic", splits(TEXTS)).fingerprint()
    assert checked("topic", splits(TEXTS)).fingerprint() != checked("topic", splits(TEXTS[::-1])).fingerprint()
    assert checked("topic", splits(TEXTS)).fingerprint() != checked("sentiment", splits(TEXTS)).fingerprint()


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("topic", splits(TEXTS, test=[*TEXTS, {"text": "sawa", "label": "neutral"}]), "`neutral` is unknown"),
        ("topic", splits([*TEXTS, {"text": " ", "label": "good"}]), "another form"),
        ("topic", splits([*TEXTS, {"sentence": "sawa", "label": "good"}]), "another form"),
        ("topic", splits([*TEXTS, ["sawa", "good"]]), "not an object"),
        (
            "pos",
            splits([{"tokens": ["a"], "tags": ["X"]}] * 2 + [{"tokens": ["a", "b"], "tags": ["X"]}]),
            "2 tokens have 1",
        ),
        ("pos", splits([{"tokens": ["a"], "tags": ["X"]}] * 2 + [{"tokens": [], "tags": []}]), "another form"),
        ("ner", splits([*PEOPLE, *PEOPLE, {"tokens": ["a"], "tags": ["PER"]}]), "`PER` is not an IOB2 tag"),
        ("ner", splits([*PEOPLE, *PEOPLE, {"tokens": ["a", "b"], "tags": ["O", "I-PER"]}]), "does not continue"),
        ("ner", splits([*PEOPLE, *PEOPLE, {"tokens": ["a", "b"], "tags": ["B-LOC", "I-PER"]}]), "does not continue"),
        ("ner", splits(PEOPLE * 2, test=[*PEOPLE * 2, {"tokens": ["a"], "tags": ["B-GOD"]}]), "`GOD` is unknown"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(name, rows, says):
    with pytest.raises(NdogoError, match=says) as refused:
        checked(name, rows)
    assert refused.value.where == "file.jsonl, line 3" and refused.value.cure


def test_few_stray_tags_open_an_entity_and_are_noted():
    many = [{"tokens": ["Asha"], "tags": ["B-PER"]}] * 200
    stray = {"tokens": ["wa", "Asha"], "tags": ["O", "I-PER"]}
    read = checked("ner", splits(many, test=[*many, stray]))
    assert read.splits["test"][-1] == Tagged(("wa", "Asha"), ("O", "B-PER"))
    assert len(read.notes) == 1 and "line 201" in read.notes[0]


def test_empty_splits_and_unknown_names_are_refused():
    with pytest.raises(NdogoError, match="dev split of benchmark `topic` is empty"):
        checked("topic", {"train": place(TEXTS), "test": place(TEXTS)})
    with pytest.raises(NdogoError, match="no benchmark `parsing`"):
        checked("parsing", splits(TEXTS))
    with pytest.raises(NdogoError, match="`bad` is unknown"):
        checked("topic", splits(TEXTS), labels=["good"])


@pytest.fixture
def folder(tmp_path):
    for name, rows in (("topic", TEXTS), ("ner", PEOPLE)):
        home = tmp_path / "tasks" / name / "swa"
        home.mkdir(parents=True)
        for split in ("train", "dev", "test"):
            with gzip.open(home / f"{split}.jsonl.gz", "wt", encoding="utf-8") as out:
                out.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


def test_a_local_folder_is_read(folder):
    assert len(read_local(folder, "topic", "swa").splits["test"]) == 2
    with pytest.raises(NdogoError, match="no benchmark `topic` for `zul`") as refused:
        read_local(folder, "topic", "zul")
    assert "swa" in refused.value.cure
    (folder / "tasks/topic/swa/dev.jsonl.gz").unlink()
    with pytest.raises(NdogoError, match="has no dev split"):
        read_local(folder, "topic", "swa")


@pytest.mark.parametrize("bad", [b'{"text": \n', '{"text": "caf\u00e9"}'.encode("latin-1"), b"[1"])
def test_a_file_that_is_not_json_is_refused_with_its_line_and_the_others_are_read(folder, bad):
    file = folder / "tasks/topic/swa/dev.jsonl.gz"
    with gzip.open(file, "wb") as out:
        out.write(json.dumps(TEXTS[0]).encode() + b"\n" + bad)
    read = collect({name: lambda name=name: read_local(folder, name, "swa") for name in ("topic", "ner")})
    assert isinstance(read[0], Broken) and f"{file}, line 2" in read[0].problem
    assert read[1].name == "ner"


def test_a_damaged_archive_is_refused(folder):
    file = folder / "tasks/topic/swa/dev.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-6])
    with pytest.raises(NdogoError, match="cannot be read"):
        read_local(folder, "topic", "swa")


@pytest.mark.real
@pytest.mark.parametrize("name", ["sentiment", "topic", "ner", "pos"])
def test_every_real_benchmark_is_read(shared, name):
    languages = [p.name for p in sorted((shared / "data/tasks" / name).iterdir()) if (p / "train.jsonl.gz").is_file()]
    assert len(languages) >= 7
    for language in languages:
        assert read_local(shared / "data", name, language).splits["test"]
