"""ndogo-run: the same answers as PyTorch, in a process without torch, and words for whatever does not fit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer, pipeline

import ndogo_run
from ndogo.compressors.export import Settings, export
from ndogo.core.models import save
from ndogo_run.words import joined, words_of
from tests.pico import TEXT

ROOT = Path(__file__).parents[2]
LABELS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC"}


@pytest.fixture(scope="module")
def exports(pico_model, tmp_path_factory):
    """`exports("mlm")` is an export of a pico model with that head, in fp32, and the directory that it was made from."""
    made: dict[str, tuple[Path, Path]] = {}
    heads = {"classes": AutoModelForSequenceClassification, "tags": AutoModelForTokenClassification}

    def get(head: str) -> tuple[Path, Path]:
        if head not in made:
            folder, source = tmp_path_factory.mktemp(head), pico_model("xlmr")
            if head != "mlm":
                torch.manual_seed(7)
                model = heads[head].from_pretrained(source, num_labels=4, id2label=LABELS)
                for name, parameter in model.classifier.named_parameters():
                    torch.nn.init.normal_(parameter, std=2.0 if "weight" in name else 0.1)
                save(model, folder / "in")
                AutoTokenizer.from_pretrained(source).save_pretrained(folder / "in")
                source = folder / "in"
            export(source, folder / "out", Settings(("fp32",), 8), lambda: iter(TEXT))
            made[head] = folder / "out", source
        return made[head]

    return get


def shell(*words: str | Path, **more) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys, atexit; from ndogo_run.cli import main\n"
        "heavy = ['torch', 'transformers', 'ndogo', 'onnx']\n"
        "atexit.register(lambda: sys.stderr.write(f'LOADED {sorted(set(heavy) & set(sys.modules))}'))\nmain()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "run")},
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def test_masks_are_filled_as_by_transformers(exports):
    folder, source = exports("mlm")
    text = "Watoto <mask> wanacheza mpira."
    ours = ndogo_run.load(folder).fill(text, top=3)
    tokenizer = AutoTokenizer.from_pretrained(source)
    theirs = pipeline("fill-mask", model=str(source), tokenizer=tokenizer, device="cpu")(text, top_k=3)
    assert [token.label for token in ours[0]] == [found["token_str"] for found in theirs]
    assert np.allclose([token.score for token in ours[0]], [found["score"] for found in theirs], atol=1e-5)
    assert len(ndogo_run.load(folder).fill("<mask> na <mask>")) == 2


def test_texts_are_classified_as_by_transformers(exports):
    folder, source = exports("classes")
    tokenizer = AutoTokenizer.from_pretrained(source)
    theirs = pipeline("text-classification", model=str(source), tokenizer=tokenizer, device="cpu", top_k=None)
    for text in TEXT[:9]:
        (expected,) = theirs([text], function_to_apply="softmax")
        ours = ndogo_run.load(folder).classify(text)
        assert [label.label for label in ours] == [found["label"] for found in expected]
        assert np.allclose([label.score for label in ours], [found["score"] for found in expected], atol=1e-5)


def test_tags_have_the_places_of_their_words(exports):
    folder, source = exports("tags")
    model = ndogo_run.load(folder)
    reference = AutoModelForTokenClassification.from_pretrained(source).eval()
    tokenizer = AutoTokenizer.from_pretrained(source)
    seen = 0
    for text in TEXT[:9]:
        for span in model.tag(text):
            assert text[span.start : span.end] == span.text
            seen += 1
        words = [text[start:end] for start, end in words_of(text)]
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            best = reference(**encoded).logits[0].argmax(-1).tolist()
        firsts = [encoded.word_ids().index(number) for number in range(len(words))]
        spans = joined([LABELS[best[i]] for i in firsts])
        expected = [(words_of(text)[a][0], words_of(text)[b][1], kind) for a, b, kind in spans]
        assert [(span.start, span.end, span.label) for span in model.tag(text)] == expected
    assert seen > 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ng'ombe, na n’gambo.", ["Ng'ombe", ",", "na", "n’gambo", "."]),
        ("ẹ́kọ́  2026-11 (x_y)", ["ẹ́kọ́", "2026-11", "(", "x_y", ")"]),
        ("  ", []),
        ("-a- '", ["-", "a", "-", "'"]),
    ],
)
def test_words(text: str, words: list[str]):
    assert [text[start:end] for start, end in words_of(text)] == words


@pytest.mark.parametrize(
    ("labels", "spans"),
    [
        (["B-PER", "I-PER", "O", "B-LOC"], [(0, 1, "PER"), (3, 3, "LOC")]),
        (["I-PER", "I-LOC", "I-LOC"], [(0, 0, "PER"), (1, 2, "LOC")]),
        (["B-PER", "B-PER"], [(0, 0, "PER"), (1, 1, "PER")]),
        (["NOUN", "VERB"], [(0, 0, "NOUN"), (1, 1, "VERB")]),
    ],
)
def test_labels_become_spans(labels: list[str], spans: list[tuple[int, int, str]]):
    assert list(joined(labels)) == spans


def test_search_keeps_its_index_and_makes_it_again(exports, tmp_path: Path):
    model = ndogo_run.load(exports("mlm")[0])
    file = tmp_path / "lines.txt"
    file.write_text("\n".join([*TEXT[:9], "", TEXT[0] + " Tena."]), encoding="utf-8")
    first = model.search(file, TEXT[2], top=1)
    assert first[0][1] == TEXT[2] and first[0][2] > 0.999
    kept = tmp_path / "lines.txt.ndogo.npz"
    before = kept.stat().st_mtime_ns
    assert model.search(file, TEXT[2], top=1)[0][:2] == first[0][:2] and kept.stat().st_mtime_ns == before
    file.write_text("\n".join(TEXT[3:9]), encoding="utf-8")
    assert model.search(file, TEXT[4], top=1)[0][1] == TEXT[4] and kept.stat().st_mtime_ns != before
    kept.write_bytes(b"broken")
    assert model.search(file, TEXT[4], top=1)[0][1] == TEXT[4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.txt", "lines.txt.ndogo.npz"]


def test_an_answer_does_not_depend_on_its_neighbours(exports):
    model = ndogo_run.load(exports("mlm")[0])
    assert np.array_equal(model.embed(TEXT[:5])[3], model.embed(TEXT[3])[0])
    assert model.embed([]).shape == (0, 32)


def test_the_command_loads_no_torch(exports):
    done = shell("fill", exports("mlm")[0], "-", "--json", input="Watoto <mask> mpira.\n")
    assert done.returncode == 0 and done.stderr == "LOADED []"
    (mask,) = json.loads(done.stdout)
    assert len(mask) == 5 and mask[0]["score"] >= mask[4]["score"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fill", "MODEL", "Hakuna."), "The text has no mask."),
        (("tag", "MODEL", "Mtoto."), "This model cannot tag words: its head is `mlm`"),
        (("fill", "MODEL", "<mask>", "--file", "model_q4.onnx"), "Known: model.onnx."),
        (("embed", "nowhere", "x"), "There is no exported model here."),
        (("search", "MODEL", "nowhere.txt", "x"), "The file cannot be read"),
    ],
)
def test_refusals_are_words(exports, words: tuple[str, ...], message: str):
    done = shell(*(exports("mlm")[0] if word == "MODEL" else word for word in words))
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_a_damaged_export_is_refused(exports, tmp_path: Path):
    for name in ("export.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((exports("mlm")[0] / "onnx" / name).read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ndogo_run.RunError, match="cannot be read"):
        ndogo_run.load(tmp_path)
