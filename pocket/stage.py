"""Is the pocket world a fair stage? `python -m ndogo.pocket.stage [--mode probe] [--out FILE] [LANGUAGE ...]` prints the table.

For every language the mean over the four benchmarks, judged the same way: the teacher; the same shape untrained; the
teacher's embeddings under untrained layers; the teacher with every second layer dropped and no training. The ceiling is what
the labels allow: each was chosen before its text was written, and the text holds the words that say it. So it is 100.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from ndogo.core.progress import silent
from ndogo.evaluation import Benchmark, EvaluationSettings, checked, evaluate
from ndogo.pocket import BENCHMARKS, LANGUAGES, benchmark, teacher

Mode = Literal["finetune", "probe"]
VARIANTS = ("untrained", "embeddings", "half", "teacher")
Scores = dict[str, dict[str, dict[str, list[float]]]]
"""By language, variant and benchmark: one score per seed."""
CEILING = 100.0
SETTINGS: dict[str, dict[str, Any]] = {
    "finetune": {"learning_rates": (5e-4,), "epochs": 5, "patience": 5, "batch_size": 16},
    "probe": {},
}


def write_variants(source: Path, folder: Path) -> dict[str, Path]:
    """Write the three lesser models beside each other into `folder`; the teacher stays where it is."""
    import torch

    from ndogo.compressors.depth import Choice, truncate
    from ndogo.compressors.fresh import random_model
    from ndogo.core.architectures import with_layers
    from ndogo.core.models import copy_tokenizer, load_model, save

    found = {name: folder / name for name in VARIANTS[:3]}
    model = load_model(source)
    for name in ("untrained", "embeddings"):
        fresh = random_model(model.config, 1)
        if name == "embeddings":
            with torch.no_grad():
                for key, value in model.state_dict().items():
                    if ".embeddings." in key:
                        fresh.state_dict()[key].copy_(value)
        save(fresh, found[name])
        copy_tokenizer(source, found[name])
    found["half"].mkdir(parents=True)
    half = with_layers(model.config, range(model.config.num_hidden_layers // 2))
    truncate(source, found["half"], half, Choice("stride"), silent)
    return found | {"teacher": source}


def stages(language: str) -> list[Benchmark]:
    """The four benchmarks of a language, checked."""
    made = []
    for name in BENCHMARKS:
        splits = benchmark(language, name).items()
        made.append(checked(name, {split: [(f"{language}/{split}", row) for row in rows] for split, rows in splits}))
    return made


def judged(model: Path, benchmarks: list[Benchmark], mode: Mode, seeds: tuple[int, ...]) -> dict[str, list[float]]:
    """The scores in percent of each benchmark, one per seed."""
    settings = EvaluationSettings(mode=mode, seeds=seeds, threads=1, max_length=96, **SETTINGS[mode])
    record = evaluate(model, benchmarks, settings)
    return {name: [100 * score for score in found.scores] for name, found in record.benchmarks.items()}


def table(scores: Scores) -> str:
    """The Markdown table: means of the four benchmarks over all seeds, and the margins that the stage promises."""
    head = "| language | seeds | untrained | embeddings | half the layers | teacher | ceiling "
    head += "| over untrained | over embeddings | lost with half |"
    rows = [head, "|" + "---|" * 10]
    for language, by_variant in scores.items():
        means = {
            name: statistics.mean(score for found in by_variant[name].values() for score in found) for name in VARIANTS
        }
        margins = [means["teacher"] - means[name] for name in VARIANTS[:3]]
        cells = [*(means[name] for name in VARIANTS), CEILING, *margins]
        seeds = len(by_variant["teacher"][BENCHMARKS[0]])
        rows.append(f"| {language} | {seeds} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    return "\n".join(rows)


def merged(files: list[Path]) -> Scores:
    """The scores of several runs (other languages or other seeds), in the order of LANGUAGES."""
    found: Scores = {}
    for file in files:
        for language, by_variant in json.loads(file.read_text(encoding="utf-8")).items():
            if set(by_variant) != set(VARIANTS):
                continue  # the run was stopped within this language
            for variant, by_name in by_variant.items():
                for name, scores in by_name.items():
                    found.setdefault(language, {}).setdefault(variant, {}).setdefault(name, []).extend(scores)
    return {language: found[language] for language in LANGUAGES if language in found}


def run(source: Path, languages: list[str], mode: Mode, seeds: tuple[int, ...], out: Path | None) -> Scores:
    """Judge every variant in every language; `out`, where given, holds the scores as they come."""
    scores: Scores = {}
    with tempfile.TemporaryDirectory() as folder:
        models = write_variants(source, Path(folder))
        for language in languages:
            benchmarks = stages(language)
            scores[language] = {}
            for name in VARIANTS:
                scores[language][name] = judged(models[name], benchmarks, mode, seeds)
                sys.stderr.write(f"{language} {name} {scores[language][name]}\n")
                if out:
                    out.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    return scores


def main() -> None:
    """Judge and print the table, or with --table print the table of scores that were kept."""
    parser = argparse.ArgumentParser(prog="python -m ndogo.pocket.stage")
    parser.add_argument("languages", nargs="*", default=list(LANGUAGES), metavar="LANGUAGE")
    parser.add_argument("--mode", choices=sorted(SETTINGS), default="finetune")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--model", type=Path, help="another teacher than the shipped one")
    parser.add_argument("--out", type=Path, help="keep the scores here, as JSON")
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    asked = parser.parse_args()
    if asked.table:
        scores = merged(asked.table)
    else:
        scores = run(asked.model or teacher(), asked.languages, asked.mode, tuple(asked.seeds), asked.out)
    sys.stdout.write(table(scores) + "\n")


if __name__ == "__main__":
    main()
