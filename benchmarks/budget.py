"""Does `ndogo budget` choose well? Every shape that it measures is cut, distilled alike and judged on dev, by several seeds.

    python benchmarks/budget.py swahili 0.35M --out pocket.json
    NDOGO_DATA=DIR NDOGO_TEACHER=DIR python benchmarks/budget.py swahili 1.5M --profile local --out real.json

Teachers are not adapted: each is the trimmed one. Killed and called again with the same `--out`, it goes on. Printed at last: how
well each thing that is known of a shape puts the shapes in the order of their dev scores, and how well one seed does so for
the others, which is the most that can be asked of any of them.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import correlation, fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from ndogo.compressors.budget import Candidate, candidates, read_budget, vocabularies
from ndogo.compressors.sizes import Counter
from ndogo.core.models import load_config
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from ndogo.evaluation import Benchmark, Broken, EvaluationSettings, evaluate
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.corpora import Corpus, corpus
from ndogo.registry.languages import language as find_language
from ndogo.registry.recipes import recipe
from ndogo.registry.teachers import weights
from ndogo.steps.fitting import recipe_text
from ndogo.steps.recipe import parse_recipe
from ndogo.steps.step import Context
from ndogo.steps.trials import Trials

Row = dict[str, Any]
"""What is known of a shape: `dev` and `bits` by seed."""
SETTINGS = EvaluationSettings(seeds=(1, 2, 3), max_length=96, threads=1, train_units=20_000)


def dev_only(rows: list[Benchmark | Broken]) -> list[Benchmark]:
    """The benchmarks with dev in the place of test, which nothing is chosen by."""
    whole = [row for row in rows if isinstance(row, Benchmark)]
    return [replace(row, splits={**row.splits, "test": row.splits["dev"]}) for row in whole]


def taught(trials: Trials, candidate: Candidate, text: Corpus, tokens: int, seed: int) -> tuple[float, float]:
    """The mean of dev, in points, after the recipe's distillation has read so many tokens; and bits per byte then."""
    with tempfile.TemporaryDirectory() as folder:
        student, whole, out = (Path(folder) / name for name in ("student", "teacher", "out"))
        trials.cut(candidate, student)
        trials.trim(candidate, whole)
        out.mkdir()
        config = load_config(trials.teacher)
        made = parse_recipe(recipe_text(trials.base, "taught", read_budget("1M"), candidate, config))
        step = next(step for step in made.steps if step.kind == "distil")
        short = step.model_copy(update={"epochs": None, "tokens": tokens})
        lines = (WeightedLines(text.lines),)
        context = Context(lines, text.validation, "budget", seed, work=Path(folder) / "work", token_cap=tokens)
        short.make({"student": student, "teacher": whole}, out, context)
        found = evaluate(out, dev_only(benchmarks(text.language, text.profile)), SETTINGS)
        dev = 100 * fmean(one.mean for one in found.benchmarks.values())
        return dev, trials.judge(out, candidate.vocabulary)


def agree(ours: list[float], theirs: list[float]) -> float:
    """Spearman's rank correlation."""
    ranks = [[sorted(values).index(value) for value in values] for values in (ours, theirs)]
    return correlation(*ranks)


def show(known: dict[str, Row], asked: list[int]) -> None:
    """The shapes by their dev scores, and what puts them in that order."""
    seeds = [str(seed) for seed in asked]
    dev = {name: fmean(row["dev"][seed] for seed in seeds) for name, row in known.items()}
    for rank, name in enumerate(sorted(known, key=lambda one: -dev[one]), 1):
        row, bits = known[name], fmean(known[name]["bits"][seed] for seed in seeds)
        told = ", ".join(f"{row['dev'][seed]:.1f}" for seed in seeds)
        print(f"| {rank} | {name} | {row['params']:,} | {row['loss']:.3f} | {bits:.3f} | {dev[name]:.1f} ({told}) |")
    rows, scores = list(known.values()), list(dev.values())
    known_of = {
        "expected by the rule": [-row["expected"] for row in rows],
        "rows": [row["rows"] for row in rows],
        "bits per byte after the cut": [-row["loss"] for row in rows],
        "bits per byte after training": [-fmean(row["bits"][seed] for seed in seeds) for row in rows],
    }
    for what, values in known_of.items():
        would = list(known)[values.index(max(values))]
        place = sum(one > dev[would] for one in scores) + 1
        print(f"{what}: {agree(values, scores):+.2f}; it would choose {would}, place {place}")
    for one, other in combinations(seeds, 2):
        print(
            f"dev of seed {one} with dev of seed {other}: {agree(*([r['dev'][s] for r in rows] for s in (one, other))):+.2f}"
        )


def main() -> None:
    """Measure, print, keep."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("language")
    asked.add_argument("budget")
    asked.add_argument("--profile", default="pocket", choices=("pocket", "local"))
    asked.add_argument("--shapes", type=int, default=20)
    asked.add_argument("--tokens", type=int, default=100_000)
    asked.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked.add_argument("--out", type=Path, required=True)
    given = asked.parse_args()
    teacher = weights("", find_language(given.language), given.profile)
    text, limit = corpus(given.language, given.profile), read_budget(given.budget)
    choices = vocabularies(teacher, [WeightedLines(text.lines)], silent)
    found = candidates(Counter(load_config(teacher)), limit, choices)[: given.shapes]
    known = json.loads(given.out.read_text()) if given.out.exists() else {}
    with tempfile.TemporaryDirectory() as work:
        trials = Trials(
            teacher, recipe("ndogo-small").text, False, choices, text.lines, text.validation, "", Path(work)
        )
        for candidate in found:
            shape = candidate.shape
            name = f"{shape.layers}x{shape.hidden}, FFN {shape.ffn}, {shape.vocab:,} rows"
            if name not in known:
                row: Row = {"expected": candidate.expected, "params": candidate.params, "rows": shape.vocab}
                known[name] = row | {"dev": {}, "bits": {}, "loss": trials.loss(candidate)}
            for seed in map(str, given.seeds):
                if seed not in (row := known[name])["dev"]:
                    row["dev"][seed], row["bits"][seed] = taught(trials, candidate, text, given.tokens, int(seed))
                    print(name, row, flush=True)
                    given.out.write_text(json.dumps(known, indent=1))
    show(known, given.seeds)


if __name__ == "__main__":
    main()
