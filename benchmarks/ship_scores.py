"""What each file of an export keeps of its model: the benchmarks with the paired interval, and the answers to real lines.

python benchmarks/ship_scores.py EXPORT [--language NAME] [--profile NAME] [--files FILE,...] [--python PYTHON] [--lines N]

The answers (masked words, or vectors) are those of `ndogo_run` in the given Python, which needs only `ndogo-run`; PyTorch's are
computed here. Lines are the held-out ones first, and no score chooses anything.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from ndogo.compressors.export.heads import Exportable, exportable
from ndogo.core.exported import FOLDER, MANIFEST, TOKENIZER
from ndogo.core.models import load_tokenizer
from ndogo.evaluation import EvaluationSettings, evaluate, retention
from ndogo.evaluation.exported import load_exported
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.corpora import corpus

ASK = """
import json, sys, numpy, ndogo_run
assert "torch" not in sys.modules
folder, file, out = sys.argv[1:]
model, lines = ndogo_run.load(folder, file=file, threads=1), json.load(sys.stdin)
if model.facts["head"] == "mlm":
    json.dump([model.fill(line, top=1)[0][0].label for line in lines], open(out, "w"))
else:
    json.dump(model.embed(lines).tolist(), open(out, "w"))
"""
TIE = 1e-4


def scores(folder: Path, files: Sequence[str], language: str, profile: str) -> Iterator[str]:
    """A row for the model, and one per file: points per benchmark, the mean, and what the file loses of it."""
    rows, settings = benchmarks(language, profile), EvaluationSettings(threads=1)
    model = evaluate(folder, rows, settings)
    names = list(model.benchmarks)
    yield f"| file | {' | '.join(names)} | mean | file less model |"
    yield f"|---|{'---:|' * (len(names) + 2)}"
    for file in ("", *files):
        judged = evaluate(load_exported(folder, file), rows, settings) if file else model
        found = [100 * judged.benchmarks[name].mean for name in names]
        lost = retention(judged, model).mean
        low, high = lost.difference_interval
        told = f"{100 * lost.difference:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]" if file else ""
        yield f"| {file or 'PyTorch'} | {' | '.join(f'{points:.2f}' for points in (*found, np.mean(found)))} | {told} |"


def answers(folder: Path, files: Sequence[str], lines: Sequence[str], python: str) -> Iterator[str]:
    """A sentence per file: how often it answers as PyTorch does."""
    source, tokenizer = exportable(folder), load_tokenizer(folder)
    limit = json.loads((folder / FOLDER / MANIFEST).read_text())["max_length"]
    masked = source.head == "mlm"
    asked = [_masked(line) for line in lines] if masked else list(lines)
    expected = [_by_torch(source, tokenizer, line, limit) for line in asked]
    for file in files:
        with tempfile.NamedTemporaryFile("r", suffix=".json") as out:
            call = [python, "-c", ASK, str(folder), file, out.name]
            subprocess.run(call, input=json.dumps(asked).encode(), check=True)
            given = json.load(out)
        yield f"{file}: " + (_words(folder, expected, given) if masked else _vectors(expected, given))


def _masked(line: str) -> str:
    words = line.split()[:40]
    words[len(words) // 2] = "<mask>"
    return " ".join(words)


@torch.inference_mode()
def _by_torch(source: Exportable, tokenizer: PreTrainedTokenizerBase, line: str, limit: int) -> np.ndarray:
    line = line.replace("<mask>", tokenizer.mask_token) if source.head == "mlm" else line
    ids_BL = tokenizer(line, truncation=True, max_length=limit, return_tensors="pt")["input_ids"]
    answer: torch.Tensor = source.module(ids_BL, torch.ones_like(ids_BL))[0][0]
    return np.asarray(answer[ids_BL[0] == tokenizer.mask_token_id][0] if source.head == "mlm" else answer)


def _words(folder: Path, expected: Sequence[np.ndarray], given: Sequence[str]) -> str:
    tokenizer = Tokenizer.from_file(str(folder / FOLDER / TOKENIZER))
    labels = [
        tokenizer.decode([n], skip_special_tokens=False) or tokenizer.id_to_token(n) for n in range(len(expected[0]))
    ]
    differ = [(row, word) for row, word in zip(expected, given, strict=True) if labels[row.argmax()] != word]
    gaps = [row.max() - max(row[n] for n, label in enumerate(labels) if label == word) for row, word in differ]
    ties = sum(gap <= TIE for gap in gaps)
    share = 1 - len(differ) / len(given)
    return f"the same word at {share:.1%} of {len(given):,} masks; {ties} of {len(gaps)} disagreements are ties"


def _vectors(expected: Sequence[np.ndarray], given: Sequence[Sequence[float]]) -> str:
    right, found = np.array(expected), np.array(given)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    same = np.mean(_nearest(right) == _nearest(found))
    cosine, most = (right * found).sum(1).mean(), np.abs(right - found).max()
    return f"the same nearest line for {same:.1%} of {len(found):,}; mean cosine {cosine:.4f}; largest difference {most:.0e}"


def _nearest(rows: np.ndarray) -> np.ndarray:
    similar = rows @ rows.T
    np.fill_diagonal(similar, -2)
    return np.asarray(similar.argmax(1))


def main() -> None:
    """Measure and print."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("export", type=Path)
    reader.add_argument("--language", default="swahili")
    reader.add_argument("--profile", default="pocket")
    reader.add_argument("--files", default="", help="default: all of the export")
    reader.add_argument("--python", default=sys.executable)
    reader.add_argument("--lines", type=int, default=1000)
    given = reader.parse_args()
    torch.set_num_threads(1)
    known = json.loads((given.export / FOLDER / MANIFEST).read_text())["files"]
    files = given.files.split(",") if given.files else list(known)
    text = corpus(given.language, given.profile)
    lines = list(islice((line for line in chain(text.held_out(), text.lines()) if len(line.split()) > 4), given.lines))
    for part in (
        answers(given.export, files, lines, given.python),
        scores(given.export, files, given.language, given.profile),
    ):
        for line in part:
            print(line, flush=True)


if __name__ == "__main__":
    main()
