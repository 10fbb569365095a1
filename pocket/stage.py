"""Is the pocket world a fair stage? `python -m pocket.stage [--mode probe] [--out FILE] [LANGUAGE ...]` prints the table.

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

from core.progress import silent
from evaluation import EvaluationSettings, checked, evaluate
from pocket import BENCHMARKS, LANGUAGES, benchmark, teacher

Mode = Literal["finetune", "probe"]
VARIANTS = ("untrained", "embeddings", "half", "teacher")
CEILING = 100.0
SETTINGS: dict[str, dict[str, Any]] = {
    "finetune": {"learning_rates": (5e-4,), "epochs": 5, "patience": 5, "batch_size": 16},
    "probe": {},
}


def write_variants(source: Path, folder: Path) -> dict[str, Path]:
    """Write the three lesser models beside each other into `folder`; the teacher stays where it is."""
    import torch

    from compressors.depth import truncate
    from compressors.fresh import random_model
    from core.models import copy_tokenizer, load_model, save
    from core.specs import Truncate

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
    truncate(source, found["half"], Truncate(layers=model.config.num_hidden_layers // 2), None, silent)
    return found | {"teacher": source}


def judged(model: Path, language: str, mode: Mode, seeds: int) -> dict[str, float]:
    """The mean score in percent of each benchmark over the seeds."""
    settings = EvaluationSettings(
        mode=mode,
        seeds=tuple(range(1, seeds + 1)),
        threads=1,
        max_length=96,
        **SETTINGS[mode],
    )
    stages = [
        checked(
            name,
            {
                split: ((f"{language}/{split}", row) for row in rows)
                for split, rows in benchmark(language, name).items()
            },
        )
        for name in BENCHMARKS
    ]
    record = evaluate(model, stages, settings)
    return {name: 100 * entry["mean"] for name, entry in record["benchmarks"].items()}


def table(scores: dict[str, dict[str, dict[str, float]]]) -> str:
    """The Markdown table: means of the four benchmarks, and the margins that the stage promises."""
    head = "| language | untrained | embeddings | half the layers | teacher | ceiling "
    head += "| over untrained | over embeddings | lost with half |"
    lines = [head, "|" + "---|" * 9]
    for language, by_variant in scores.items():
        means = {name: statistics.mean(found.values()) for name, found in by_variant.items()}
        margins = [means["teacher"] - means[name] for name in VARIANTS[:3]]
        cells = [means[name] for name in VARIANTS] + [CEILING, margins[0], margins[1], margins[2]]
        lines.append(f"| {language} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Judge all variants in the given languages (default: all) and print the table; scores are kept in --out as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("languages", nargs="*", default=list(LANGUAGES))
    parser.add_argument("--mode", choices=sorted(SETTINGS), default="finetune")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    scores: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = write_variants(asked.model or teacher(), Path(folder))
        for language in asked.languages:
            scores[language] = {}
            for name in VARIANTS:
                scores[language][name] = judged(models[name], language, asked.mode, asked.seeds)
                sys.stderr.write(f"{language} {name} {scores[language][name]}\n")
                if asked.out:
                    asked.out.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(scores) + "\n")


if __name__ == "__main__":
    main()
