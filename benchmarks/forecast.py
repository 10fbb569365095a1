"""What a run says of its steps before it begins, beside what they then took: seconds of each, in one process and an empty store.

    python benchmarks/forecast.py [recipe] [--language swahili --profile local --teacher DIR --tokens 500000]

Wanted: the whole within a third. The clock speaks of a machine that is ours: on a busy one compare processor seconds, with one
thread.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARE = 1 / 3


def main() -> None:
    """Print both, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="ndogo-small")
    parser.add_argument("--language", default="swahili")
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--teacher", default="")
    parser.add_argument("--tokens", type=int, help="at most so many for each training")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NDOGO_HOME"] = folder
        compare(asked)


def compare(asked: argparse.Namespace) -> None:
    """Forecast, make and judge one run."""
    from ndogo.core.progress import silent
    from ndogo.core.threads import threads
    from ndogo.registry.bundles import Bundle, open_store
    from ndogo.tasks.evaluation import evaluated
    from ndogo.tasks.prices import Prices
    from ndogo.tasks.run import Asked, planned, resolve
    from ndogo.tasks.steps import find_or_make

    words = asked.language, asked.recipe, asked.profile, 0, asked.teacher
    run = resolve(open_store(), "forecast", Asked(*words, tokens=asked.tokens))
    started = time.process_time()
    prices = Prices(run, {row.id: row for row in planned(run)})
    told = {step.id: prices.step(step) for step in run.recipe.order()}
    told |= {f"evaluate {name}": prices.evaluation(name) for name in run.evaluated()}
    took = {"the forecast itself": (0.0, time.process_time() - started)}
    bundles = {"original": Bundle("original", run.original)}
    for name in told:
        wall, processor = time.perf_counter(), time.process_time()
        if name.startswith("evaluate "):
            evaluated(run, bundles[name.removeprefix("evaluate ")], silent)
        else:
            bundles[name], _ = find_or_make(run, name, silent)
        took[name] = time.perf_counter() - wall, time.process_time() - processor
    print(f"{asked.recipe}, {asked.language}, {asked.profile}; {threads()} threads; load {os.getloadavg()[0]:.1f}")
    print("| step | said | took | processor |\n|---|---:|---:|---:|")
    for name, (wall, processor) in took.items():
        print(f"| {name} | {told.get(name, 0):.1f} | {wall:.1f} | {processor:.1f} |")
    whole, wall, processor = sum(told.values()), *(sum(took[name][n] for name in told) for n in (0, 1))
    print(f"| all | {whole:.1f} | {wall:.1f} | {processor:.1f} |")
    wanted = f"wanted {1 - SHARE:.2f} to {1 + SHARE:.2f}"
    print(f"said / took: {whole / wall:.2f}, by processor seconds {whole / processor:.2f}; {wanted}")


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "run")]
    main()
