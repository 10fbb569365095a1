"""The notebooks run from the first cell to the last, on the tiny language and a pico teacher."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

ROOT = Path(__file__).parent.parent
DRIVER = """
import json, sys
for file in sys.argv[2:]:
    given, names = json.loads(sys.argv[1])[file.split("/")[-1]], {}
    for cell in json.load(open(file, encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "install" not in tags:
            exec(compile("".join(cell["source"]), file, "exec"), names)
        if "settings" in tags:
            assert given.keys() <= names.keys(), given.keys() - names.keys()
            names |= given | {"WORK": names["WORK"].absolute()}
"""
"""A plain exec of the code cells, in a process of its own: a run leaves a Prefect server to the process that made it."""


@pytest.mark.timeout(600)
def test_every_cell_of_the_notebooks_runs(pico_model, tmp_path: Path):
    text, benchmarks = tiny.write(tmp_path / "tiny")
    teacher = str(pico_model("xlmr"))
    own = {"LANGUAGE": tiny.NAME, "TEACHER": teacher, "TEXT": str(text), "TOKENS": 400, "LENGTH": 32}
    given = {
        "gpu.ipynb": own | {"BENCHMARKS": [str(benchmarks)]},
        "first-hour.ipynb": own | {"RECIPE": str(tmp_path / "ndogo-work" / "notebook.yaml")},  # found, not made again
    }
    files = [str(ROOT / "notebooks" / name) for name in given]
    assert sorted(files) == sorted(map(str, (ROOT / "notebooks").glob("*.ipynb")))
    away = ("PREFECT_", "NDOGO_", "MLFLOW_", "PYTEST_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(away)}
    environment |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'run'}", "NDOGO_HOME": str(tmp_path / "home")}
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "300"  # tests share the cores
    line = [sys.executable, "-c", DRIVER, json.dumps(given), *files]
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "ndogo-work" / "ndogo-tiny.zip").is_file()
    assert (tmp_path / "first-hour" / "compare.png").stat().st_size > 1000
    assert (tmp_path / "first-hour" / "shipped" / "web" / "index.html").is_file()


@pytest.mark.parametrize("file", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_is_kept_without_outputs(file: Path):
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)
