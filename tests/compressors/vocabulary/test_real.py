"""The four real tokenizers on real text, with small random models behind them."""

import gzip
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from ndogo.compressors.vocabulary import Wanted, trim
from ndogo.compressors.vocabulary.certificate import compare_segmentation
from ndogo.compressors.vocabulary.counting import encode
from ndogo.compressors.vocabulary.source import read_vocabulary
from ndogo.core.models import copy_tokenizer, load_config, load_tokenizer
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines, lines_of
from tests.pico import SIZES

LANGUAGES = ("swa", "yor", "slk")
E5 = "multilingual-e5-small"
FILES = {
    "xlm-roberta": ("xlm-roberta/sentencepiece.bpe.model", f"{E5}/tokenizer.json.gz", f"{E5}/tokenizer_config.json"),
    "xlm-roberta, sentencepiece alone": ("xlm-roberta/sentencepiece.bpe.model",),
    E5: (f"{E5}/tokenizer.json.gz", f"{E5}/tokenizer_config.json"),
    "mbert": ("mbert/vocab.txt", "mbert/tokenizer_config.json"),
    "modernbert-base": tuple(
        f"modernbert-base/{n}" for n in ("tokenizer.json.gz", "tokenizer_config.json", "special_tokens_map.json")
    ),
}


def build(name: str, shared: Path, out: Path) -> Path:
    """A random model of two layers with a real tokenizer's files."""
    torch.manual_seed(0)
    shape = SIZES | {"num_hidden_layers": 2}
    if name == "mbert":
        model = BertForMaskedLM(BertConfig(vocab_size=119_547, **shape))
    elif name == "modernbert-base":
        model = ModernBertForMaskedLM(ModernBertConfig(vocab_size=50_368, **shape))
    else:
        rows = 250_037 if name == E5 else 250_002
        model = XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=rows, max_position_embeddings=514, **shape))
    model.save_pretrained(out)
    for file in FILES[name]:
        source = shared / "tokenizers" / file
        if source.suffix == ".gz":
            (out / source.stem).write_bytes(gzip.decompress(source.read_bytes()))
        else:
            shutil.copyfile(source, out / source.name)
    return out


def lines(shared: Path, language: str) -> Iterator[list[str]]:
    text = lines_of(shared / "data" / "text" / f"{language}.txt.gz")()
    while batch := list(itertools.islice(text, 10_000)):
        yield batch


def trim_and_compare(
    source: Path, out: Path, spec: Wanted, shared: Path, language: str, most: int | None = None
) -> int:
    """Trim on a language's text, compare on all of it, return the number of covered lines."""
    corpus = lines_of(shared / "data" / "text" / f"{language}.txt.gz")
    out.mkdir()
    numbers = trim(source, out, spec, [WeightedLines(lambda: itertools.islice(corpus(), most))], silent)
    assert numbers["relative_difference"] <= 1e-5 and numbers["compared_lines"] == 64
    kept = json.loads((out / "old_to_new.json").read_text())["new_to_old"]
    vocabulary = read_vocabulary(source, load_config(source))
    trimmed = load_tokenizer(out).backend_tokenizer
    trimmed.no_padding()
    alone = None
    if any((out / name).is_file() for name in ("sentencepiece.bpe.model", "vocab.txt")):
        folder = out.parent / f"{out.name}-alone"
        folder.mkdir()
        copy_tokenizer(out, folder)
        (folder / "tokenizer.json").unlink()
        shutil.copyfile(out / "config.json", folder / "config.json")
        alone = load_tokenizer(folder).backend_tokenizer
    covered = 0
    for batch in lines(shared, language):
        batch = batch[:most]
        encoded = list(zip(batch, encode(vocabulary.backend, batch), strict=True))
        found, _ = compare_segmentation(vocabulary, kept, encoded, trimmed)
        assert found.covered_identical == found.covered
        covered += found.covered
        if alone is not None:
            assert encode(alone, batch) == encode(trimmed, batch)
        if most:
            break
    return covered


@pytest.mark.parametrize("name", ["mbert", "modernbert-base"])
def test_three_thousand_lines_of_yoruba_are_split_as_before(shared, tmp_path, name):
    source = build(name, shared, tmp_path / "source")
    assert trim_and_compare(source, tmp_path / "out", Wanted(size=3000), shared, "yor", most=3000) > 1000


@pytest.mark.real
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", list(FILES))
def test_every_covered_line_of_three_languages_is_split_as_before_and_a_fresh_process_loads_the_result(
    shared, tmp_path, name
):
    source = build(name, shared, tmp_path / "source")
    outs = []
    for language in LANGUAGES:
        out = tmp_path / language
        covered = trim_and_compare(source, out, Wanted(coverage=0.98), shared, language)
        print(f"{name}, {language}: {covered:,} covered lines, all split as before")  # noqa: T201
        assert covered > 10_000
        outs.append(str(out))
    code = (
        "import sys; from pathlib import Path; from ndogo.core.models import load_model, load_tokenizer\n"
        "for p in map(Path, sys.argv[1:]): assert load_model(p).config.vocab_size == len(load_tokenizer(p))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *outs], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
