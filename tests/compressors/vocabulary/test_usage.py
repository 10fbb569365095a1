"""Using `trim`: several corpora, progress, a process of its own, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from ndogo.compressors.vocabulary import Wanted, trim
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines, lines_of
from tests import pico


def test_several_corpora_count_by_weight_and_progress_is_told(model_of, tmp_path):
    (tmp_path / "sw.txt").write_text("\n".join(pico.TEXT[:3] * 9), encoding="utf-8")
    (tmp_path / "mt.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in [pico.TEXT[5]] * 27))
    told = []

    def report(doing, done, total, numbers=None):
        told.append((doing, done, total, dict(numbers or {})))

    def kept(weight: float) -> set[int]:
        out = tmp_path / f"out-{weight}"
        out.mkdir()
        corpora = [
            WeightedLines(lines_of(tmp_path / "sw.txt"), name="sw"),
            WeightedLines(lines_of(tmp_path / "mt.jsonl"), weight=weight, name="mt"),
        ]
        trim(model_of("xlmr"), out, Wanted(size=90), corpora, report)
        return set(json.loads((out / "old_to_new.json").read_text())["new_to_old"])

    assert kept(1e-6) != kept(1e6)
    _, done, total, numbers = next(t for t in told if t[0] == "count mt")
    assert done == total == 54 and numbers["lines_per_second"] > 0 and numbers["seconds_left"] == 0


def test_a_fresh_process_loads_the_result_and_trimming_needs_neither_prefect_nor_mlflow(model_of, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "text.txt").write_text("\n".join(pico.TEXT), encoding="utf-8")
    code = f"""
import sys
from pathlib import Path
from ndogo.compressors.vocabulary import Wanted, trim
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines, lines_of
corpus = WeightedLines(lines_of(Path({str(tmp_path / "text.txt")!r})))
trim(Path({str(model_of("xlmr"))!r}), Path({str(out)!r}), Wanted(size=100), [corpus], silent)
assert "prefect" not in sys.modules and "mlflow" not in sys.modules
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(AutoTokenizer.from_pretrained(out)) == 105 and load_model(out).config.vocab_size == 105


def test_what_cannot_be_used_is_refused_with_a_cure(model_of, trimmed, tmp_path):
    with pytest.raises(NdogoError, match="tokens must be kept in any case"):
        trimmed(model_of("xlmr"), name="a", size=10)
    with pytest.raises(NdogoError, match="no text to count"):
        trimmed(model_of("xlmr"), text=[], name="b", size=100)
    with pytest.raises(NdogoError, match="A weight is above 0"):
        trim(model_of("xlmr"), tmp_path, Wanted(size=100), [WeightedLines(lambda: iter(["a"]), weight=0)], silent)
    source = tmp_path / "short"
    shutil.copytree(model_of("xlmr"), source)
    model = load_model(source)
    model.resize_token_embeddings(50)
    model.save_pretrained(source)
    with pytest.raises(NdogoError, match="the model only 50 rows"):
        trimmed(source, name="c", size=100)
    backend = json.loads((source / "tokenizer.json").read_text())
    backend["model"] = {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
    (source / "tokenizer.json").write_text(json.dumps(backend))
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(NdogoError, match="`WordLevel` cannot be trimmed"):
        trimmed(source, name="d", size=100)
