"""A small task model by two ways: fine-tune, then compress (and then the labelled rows again); or compress, then fine-tune.

NDOGO_DATA=DATA OMP_NUM_THREADS=1 python -m benchmarks.task_models TEACHER --out OUT

Every model is a folder of OUT and is found again. The test rows are read once, at the end; rates are chosen on dev.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import combinations, islice, product
from pathlib import Path
from statistics import fmean
from typing import Any

from ndogo import api
from ndogo.core.text import lines_of
from ndogo.evaluation import Benchmark, EvaluationSettings, agreement, evaluate, retention
from ndogo.registry.benchmarks import benchmark_of
from ndogo.registry.corpora import local_folder
from ndogo.registry.hub import Hub
from ndogo.registry.languages import language
from ndogo.steps.recipe import validated
from ndogo.steps.step import kinds

SIZES = {"90": (3500, "1/2"), "94": (3000, "3/8")}
"""Percent less than the teacher of 11.1 M parameters -> tokens kept, and the part of both widths; half of the layers."""
HIDDEN = {"hidden": {"standardise": True, "depths": {"1/3": 0.5, "2/3": 0.5, "1": 1.0}}}
HELD_OUT = 500
FIRST, AGAIN, AFTER = "fine-tune, compress", "the same, and the rows again", "compress, fine-tune"
WAYS = (FIRST, AGAIN, AFTER)


def main() -> None:
    """Make what is not there, judge it, and print the tables."""
    asked = _arguments()
    entry = language(asked.language)
    rows = benchmark_of(asked.benchmark, entry, "local", Hub())
    asked.out.mkdir(parents=True, exist_ok=True)
    _write_rows(rows, asked.out / "rows", asked.rows)
    text = _write_text(asked)
    teacher = _tuned(asked, asked.teacher, "teacher", asked.teacher_rates, asked.seeds[0])
    arms = {
        (size, way): [_arm(asked, size, way, text, teacher, seed) for seed in asked.seeds]
        for size, way in product(asked.sizes, WAYS)
    }
    settings = EvaluationSettings(mode="own", threads=1)
    whole = evaluate(teacher, [rows], settings)
    judged = {arm: [evaluate(folder, [rows], settings) for folder in folders] for arm, folders in arms.items()}
    found, apart = whole.benchmarks[rows.name], _held_out(asked)
    _say("| model | parameters | dev | test | of the teacher [95%] | equal answers | score against the teacher |")
    _say("|---|---:|---:|---:|---:|---:|---:|")
    _say(f"| teacher | {_params(teacher) / 1e6:.2f} M | {100 * found.dev[0]:.1f} | {100 * found.mean:.1f} | | | |")
    for (size, way), ours in judged.items():
        folders = arms[size, way]
        kept = retention(ours, [whole] * len(ours)).benchmarks[rows.name]
        low, high = (100 * bound for bound in kept.retention_interval)
        dev = fmean(one.benchmarks[rows.name].dev[0] for one in ours)
        agreed = [agreement(folder, teacher, lambda: iter(apart), settings, api.silent) for folder in folders]
        known = [one for one in agreed if one is not None]
        assert len(known) == len(agreed)
        equal, alike = fmean(one.equal for one in known), fmean(one.score for one in known)
        _say(
            f"| -{size}%: {way} | {_params(folders[0]) / 1e6:.2f} M | {100 * dev:.1f} | {100 * kept.student:.1f} | "
            f"{100 * kept.retention:.1f}% [{low:.1f}, {high:.1f}] | {100 * equal:.1f}% | {100 * alike:.1f} |"
        )
    for size, (first, second) in product(asked.sizes, combinations(WAYS, 2)):
        kept = retention(judged[size, first], judged[size, second]).benchmarks[rows.name]
        low, high = (100 * bound for bound in kept.difference_interval)
        _say(f"-{size}%: {first} less {second}: {100 * kept.difference:+.1f} [{low:+.1f}, {high:+.1f}] points")


def _arm(asked: argparse.Namespace, size: str, way: str, text: Path, teacher: Path, seed: int) -> Path:
    """The student of one size, way and seed."""
    if way == AFTER:
        small = _distilled(asked, asked.teacher, f"small-{size}", text, HIDDEN, seed)
        return _tuned(asked, small, f"after-{size}-{seed}", asked.rates, seed)
    first = _distilled(asked, teacher, f"first-{size}", text, {"task_logits": 1.0, **HIDDEN}, seed)
    return first if way == FIRST else _tuned(asked, first, f"again-{size}-{seed}", asked.rates, seed)


def _distilled(
    asked: argparse.Namespace, teacher: Path, name: str, text: Path, objective: dict[str, Any], seed: int
) -> Path:
    """A student cut out of a teacher and taught by it; seeds share the cuts."""
    size = name.rpartition("-")[2]
    tokens, part = SIZES[size]
    corpus = str(text)
    trimmed = _made(asked, f"{name}-trim", "trim", {"student": teacher}, corpus, size=tokens)
    at = _made(asked, f"{name}-layers", "truncate", {"student": trimmed}, corpus, layers="1/2", keep="stride-last")
    at = _made(asked, f"{name}-ffn", "prune_ffn", {"student": at}, corpus, size=part, sentences=300)
    given: dict[str, Any] = {"size": part, "select": "pca", "sentences": 300}
    at = _made(asked, f"{name}-cut", "prune_hidden", {"student": at}, corpus, **given)
    training = {"tokens": asked.tokens, "learning_rate": 2e-3, "warmup": 0.1, "batch_size": 16, "max_length": 128}
    given = {"objective": objective, **training, "mask_probability": 0, "dropout": 0}
    return _made(asked, f"{name}-{seed}", "distil", {"student": at, "teacher": trimmed}, corpus, seed, **given)


def _tuned(asked: argparse.Namespace, source: Path, name: str, rates: list[float], seed: int) -> Path:
    epochs = asked.teacher_epochs if name == "teacher" else asked.epochs
    fields = {"benchmark": asked.benchmark, "learning_rates": tuple(rates), "epochs": epochs, "precision": "bf16"}
    return _made(asked, name, "finetune", {"student": source}, "", seed, rows=str(asked.out / "rows"), **fields)


def _made(
    asked: argparse.Namespace, name: str, kind: str, inputs: dict[str, Path], corpus: str, seed: int = 0, **fields: Any
) -> Path:
    """A step's result, found or made; how long it took is told on stderr."""
    out: Path = asked.out / name
    rows = fields.pop("rows", "")
    if not out.is_dir():
        started = time.process_time()
        step = validated(kinds()[kind], fields, kind)
        made = api.make(step, inputs, out, corpus=corpus or (), rows=rows, seed=seed)
        numbers = {key: made.numbers[key] for key in ("params", "learning_rate", "loss") if key in made.numbers}
        sys.stderr.write(f"{name}: {time.process_time() - started:.0f} s of processor time, {json.dumps(numbers)}\n")
    return out


def _params(folder: Path) -> int:
    from ndogo.core.models import load_model, parameters

    return parameters(load_model(folder))


def _write_rows(rows: Benchmark, folder: Path, count: int) -> None:
    """The first train rows and all dev rows; no test row is in the folder but the first, which nothing reads."""
    folder.mkdir(exist_ok=True)
    for split, most in (("train", count), ("dev", None), ("test", 1)):
        lines = (json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in islice(rows.splits[split], most))
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _write_text(asked: argparse.Namespace) -> Path:
    """The first lines of the language's text."""
    file: Path = asked.out / "text.txt"
    file.write_text("\n".join(islice(_text(asked), asked.lines)) + "\n", encoding="utf-8")
    return file


def _held_out(asked: argparse.Namespace) -> list[str]:
    """The lines behind those, none of which is one of them."""
    known = set(islice(_text(asked), asked.lines))
    return list(islice((line for line in islice(_text(asked), asked.lines, None) if line not in known), HELD_OUT))


def _text(asked: argparse.Namespace) -> Iterator[str]:
    return lines_of(local_folder() / "text" / f"{language(asked.language).code}.txt.gz")()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--language", default="swahili")
    parser.add_argument("--benchmark", default="ner")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--rows", type=int, default=2000, help="train rows")
    parser.add_argument("--epochs", type=int, default=3, help="of students' fine-tuning")
    parser.add_argument("--teacher-epochs", type=int, default=8)
    parser.add_argument("--teacher-rates", type=float, nargs="+", default=[5e-4])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3], help="of students; dev chooses")
    parser.add_argument("--lines", type=int, default=20_000, help="of text")
    parser.add_argument("--tokens", type=int, default=200_000, help="of each distillation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of compression and of students' rows")
    return parser.parse_args()


if __name__ == "__main__":
    main()
