"""The table of docs/recipes.md: every finished run of the store, as it was published.

    export NDOGO_HOME=...                       # the store that the runs went to
    ndogo sweep --languages swahili --recipes trim-only,two-step,mha --seeds 0 --profile pocket
    python benchmarks/recipes.py swahili comet-five --write docs/recipes.md

One row per recipe (its newest run with seed 0): sizes, what was kept of the untouched teacher's scores with the paired 95%
interval over test rows, per benchmark, and the seconds that its steps took, a found step's included. For a group, what each
member kept. `--write FILE` puts a table between `<!-- recipes: LANGUAGE -->` and `<!-- end: recipes: LANGUAGE -->`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.blocks import replace_block
from ndogo.registry.benchmarks import NAMES
from ndogo.registry.bundles import open_store
from ndogo.registry.languages import language
from ndogo.tasks.notes import finished
from ndogo.tasks.run_record import RunRecord


def newest(name: str) -> list[RunRecord]:
    """The last finished run of each recipe with seed 0, largest model first."""
    first = (run for run in finished(open_store(), name) if run.seed == 0)
    runs = {run.recipe: run for run in sorted(first, key=lambda run: run.started)}
    return sorted(runs.values(), key=lambda run: (-run.summary["params"], run.recipe))


def kept_by_member(summary: Mapping[str, float], members: Sequence[str]) -> list[float]:
    """Mean over benchmarks of what a group's model kept, member by member."""
    found = []
    for member in members:
        kept = [summary[key] for name in NAMES if (key := f"retention_{name}_{member}") in summary]
        found.append(sum(kept) / len(kept))
    return found


def table(name: str) -> str:
    """The runs of a language as Markdown."""
    members = list(language(name).members)
    runs = newest(name)
    columns = members or [n for n in NAMES if any(f"retention_{n}" in run.summary for run in runs)]
    lines = [
        f"| recipe | parameters | smaller | kept | 95% interval | {' | '.join(columns)} | seconds |",
        "|---|---:|---:|---:|---|" + "---:|" * (len(columns) + 1),
    ]
    for run in runs:
        summary = run.summary
        each = kept_by_member(summary, members) if members else [summary[f"retention_{n}"] for n in columns]
        cells = [
            run.recipe,
            f"{int(summary['params']):,}",
            f"{summary['compression_ratio']:.1f}x",
            f"{100 * summary['retention']:.1f}",
            f"{100 * summary['retention_low']:.1f} to {100 * summary['retention_high']:.1f}",
            *(f"{100 * kept:.1f}" for kept in each),
            f"{sum(s.numbers.found().get('seconds') or 0 for s in run.steps.values() if s.numbers):,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    head = f"Teacher: {first_params(runs):,} parameters; profile {', '.join(sorted({r.profile for r in runs}))}; "
    seeds = ", ".join(sorted({str(run.seed) for run in runs}))
    return f"{head}compression seed {seeds}.\n\n" + "\n".join(lines)


def first_params(runs: Sequence[RunRecord]) -> int:
    """The untouched teacher's parameters."""
    numbers = runs[0].steps["original"].numbers
    assert numbers is not None, "a finished run has its numbers"
    return numbers.params


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="+")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    for name in asked.languages:
        text = table(name)
        print(f"{name}\n\n{text}\n")
        if asked.write:
            replace_block(asked.write, f"recipes: {name}", text)


if __name__ == "__main__":
    main()
