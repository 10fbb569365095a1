"""Trimming a full-size XLM-R base: ours, beside tokenizing the text once and beside the loop that one writes by hand.

    python benchmarks/trim.py [--language swa] [--size 20000] [--repeats 3]

Needs the real tokenizers and texts (NDOGO_SHARED, default: `shared` beside the repository). The weights are random: 278 M
parameters in XLM-R's shape. Every measurement runs in a process of its own, so that its peak memory is its own; imports
are left out of the times. The rounds alternate, and each line shows its median.
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("NDOGO_SHARED", ROOT.parent / "shared"))
BATCH = 1000
MEASUREMENTS = {
    "tokenize": "(a) read and tokenize once, `tokenizer(batch)`",
    "ours": "(b) ndogo trim, saved and certified",
    "by-hand": "(c) the loop by hand, saved, no certificate",
}


class Clock:
    """Seconds on the wall and on the processors since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Both, for a result."""
        return {"seconds": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


def tokenize_once(work: Path, text: Path, size: int) -> dict[str, float]:
    """Read and tokenize the whole text once with the library's batch call; loading the tokenizer is not counted."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    clock = Clock()
    tokens = 0
    with gzip.open(text, "rt", encoding="utf-8") as lines:
        batch: list[str] = []
        for line in lines:
            batch.append(line.strip())
            if len(batch) == BATCH:
                tokens += sum(map(len, tokenizer(batch).input_ids))
                batch = []
        if batch:
            tokens += sum(map(len, tokenizer(batch).input_ids))
    return clock.read() | {"tokens": tokens}


def ours(work: Path, text: Path, size: int) -> dict[str, float]:
    """The whole of `trim`, from loading the tokenizer to the certificate."""
    from ndogo.compressors.vocabulary import Wanted, trim
    from ndogo.core.progress import silent
    from ndogo.core.text import WeightedLines, lines_of

    out = work / "ours"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    clock = Clock()
    found = trim(work / "model", out, Wanted(size=size), [WeightedLines(lines_of(text))], silent)
    return clock.read() | {"pieces": found["pieces_after"]}


def by_hand(work: Path, text: Path, size: int) -> dict[str, float]:
    """What one writes in an afternoon: line by line into a Counter, rows by a list of ids, the vocabulary filtered."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    clock = Clock()
    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    counts: Counter[int] = Counter()
    with gzip.open(text, "rt", encoding="utf-8") as lines:
        for line in lines:
            counts.update(tokenizer(line.strip()).input_ids)
    kept = sorted(set(tokenizer.all_special_ids) | {i for i, _ in counts.most_common(size)})
    model = AutoModelForMaskedLM.from_pretrained(work / "model")
    rows = torch.stack([model.get_input_embeddings().weight.data[i] for i in kept])
    bias = torch.stack([model.lm_head.bias.data[i] for i in kept])
    model.resize_token_embeddings(len(kept))
    model.get_input_embeddings().weight.data = rows
    model.lm_head.bias.data = bias
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    document["model"]["vocab"] = [document["model"]["vocab"][i] for i in kept]
    for token in document["added_tokens"]:
        token["id"] = kept.index(token["id"])
    out = work / "by-hand"
    out.mkdir(exist_ok=True)
    model.save_pretrained(out)
    (out / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return clock.read() | {"pieces": len(kept)}


RUNS = {"tokenize": tokenize_once, "ours": ours, "by-hand": by_hand}


def build_model(work: Path) -> int:
    """A random XLM-R base with both real tokenizer files; its size in bytes."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    torch.manual_seed(0)
    shape = XLMRobertaConfig(vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    XLMRobertaForMaskedLM(shape).save_pretrained(work / "model")
    tokenizers = SHARED / "tokenizers"
    with gzip.open(tokenizers / "multilingual-e5-small" / "tokenizer.json.gz") as packed:
        (work / "model" / "tokenizer.json").write_bytes(packed.read())
    shutil.copy(tokenizers / "multilingual-e5-small" / "tokenizer_config.json", work / "model")
    shutil.copy(tokenizers / "xlm-roberta" / "sentencepiece.bpe.model", work / "model")
    return (work / "model" / "model.safetensors").stat().st_size


def measure(which: str, work: Path, text: Path, size: int) -> dict[str, Any]:
    """One measurement in a fresh process."""
    command = [sys.executable, __file__, "--only", which, "--work", str(work), "--text", str(text), "--size", str(size)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def table(results: dict[str, list[dict[str, Any]]], model_bytes: int) -> str:
    """The medians, beside the first line's."""
    once = statistics.median(r["seconds"] for r in results["tokenize"])
    lines = [
        "| | seconds | ratio to (a) | lowest to highest ratio | processor seconds | peak memory, GB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for which, name in MEASUREMENTS.items():
        if rounds := results.get(which):
            seconds = statistics.median(r["seconds"] for r in rounds)
            ratios = [r["seconds"] / base["seconds"] for r, base in zip(rounds, results["tokenize"], strict=True)]
            peak = max(r["peak"] for r in rounds) / 1e9
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            cpu = statistics.median(r["cpu"] for r in rounds)
            lines.append(f"| {name} | {seconds:.2f} | {seconds / once:.2f} | {spread} | {cpu:.1f} | {peak:.2f} |")
    lines.append(f"\nModel: {model_bytes / 1e9:.2f} GB; bound on (b)'s memory: {model_bytes / 1e9 + 1.5:.2f} GB.")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--language", default="swa")
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip", choices=list(RUNS), action="append", default=[], help="leave a measurement out")
    parser.add_argument("--only", choices=list(RUNS), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help="keep the random model here and use it again")
    parser.add_argument("--text", type=Path)
    given = parser.parse_args()
    text = given.text or SHARED / "data" / "text" / f"{given.language}.txt.gz"
    if missing := [path for path in (SHARED / "tokenizers", text) if not path.exists()]:
        print(f"left out: {missing[0]} is not there; point NDOGO_SHARED at real tokenizers and texts")
        return
    if given.only:
        found = RUNS[given.only](given.work, text, given.size)
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        weights = work / "model" / "model.safetensors"
        model_bytes = weights.stat().st_size if weights.is_file() else build_model(work)
        results: dict[str, list[dict[str, Any]]] = {}
        for number in range(given.repeats):
            for which in RUNS:
                if which not in given.skip:
                    results.setdefault(which, []).append(measure(which, work, text, given.size))
                    print(f"round {number + 1}: {which} {results[which][-1]}", file=sys.stderr)
        print(table(results, model_bytes))


if __name__ == "__main__":
    main()
