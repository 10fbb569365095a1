"""What the pipeline costs beside its steps: the same recipe by plain calls in one process, and by `ndogo compress`, twice.

    python benchmarks/orchestration.py [recipe]

Overhead = the command from start to end, imports, temporary Prefect server and MLflow included, minus the steps' own work.
Wanted: at most 20 seconds + 5 %; the second run, in which everything is found, at most 30 seconds. Processor seconds (of all
processes) are what a busy machine leaves alone; on a quiet one wall seconds are about the same.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LANGUAGE = "swahili"
SECONDS, SHARE, SECOND_RUN = 20.0, 0.05, 30.0


def plain(recipe: str) -> dict[str, float]:
    """Seconds of the steps and evaluations alone, called one after the other; what they import is imported before."""
    import sklearn.linear_model  # noqa: F401  # loaded before the clock starts
    import torch  # noqa: F401  # likewise
    import transformers.models.xlm_roberta.modeling_xlm_roberta  # noqa: F401  # likewise

    from ndogo.core.progress import silent
    from ndogo.registry.bundles import Bundle, open_store
    from ndogo.tasks.evaluation import evaluated
    from ndogo.tasks.run import Asked, resolve
    from ndogo.tasks.steps import find_or_make

    run = resolve(open_store(), "plain", Asked(LANGUAGE, recipe, "pocket", 0))
    wall, processor = time.perf_counter(), time.process_time()
    bundles = {"original": Bundle("original", run.original)}
    for name in run.requests():
        bundles[name], _ = find_or_make(run, name, silent)
    for name in run.evaluated():
        evaluated(run, bundles[name], silent)
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def child(home: str, *line: str) -> tuple[dict[str, float], str]:
    """Seconds of a process and of all that it started, and what it printed."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    told = os.environ | {"NDOGO_HOME": home, "PREFECT_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run([sys.executable, *line], env=told, stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - wall, "processor": processor}, done.stdout


def main(recipe: str) -> None:
    """Print the three measurements side by side, and what is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        homes = [str(Path(folder) / name) for name in ("plain", "flow")]
        work = json.loads(child(homes[0], __file__, "--plain", recipe)[1].splitlines()[-1])
        flow, _ = child(homes[1], "-m", "ndogo", "compress", LANGUAGE, "--recipe", recipe)
        again, _ = child(homes[1], "-m", "ndogo", "compress", LANGUAGE, "--recipe", recipe)
    print(f"{recipe} on {LANGUAGE}, pocket; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'seconds':<11}{'steps alone':>12}{'flow':>8}{'overhead':>10}{'wanted':>8}{'again':>8}{'wanted':>8}")
    for kind in ("wall", "processor"):
        wanted = SECONDS + SHARE * work[kind]
        numbers = f"{work[kind]:>12.1f}{flow[kind]:>8.1f}{flow[kind] - work[kind]:>10.1f}{wanted:>8.1f}"
        print(f"{kind:<11}{numbers}{again[kind]:>8.1f}{SECOND_RUN:>8.1f}")
    print(f"flow / steps alone: {flow['processor'] / work['processor']:.2f} by processor seconds")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        print(json.dumps(plain(sys.argv[2])))
    else:
        main(*(sys.argv[1:] or ["ndogo-small"]))
