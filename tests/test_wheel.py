"""The wheels of ndogo and ndogo-run: they hold all that a run needs, put one name each into site-packages, and run anywhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import tiny

ROOT = Path(__file__).parent.parent
INSIDE = """
import ndogo.registry.recipes as r, ndogo.flows.deployments as d
from ndogo import pocket
assert d.ZOMBIES.is_file() and list(pocket.corpus("swahili", sentences=9)) and pocket.benchmark("swahili", "ner")["test"]
print(r.FOLDER.parent, pocket.teacher())
"""
FOUND = """
import sys
from ndogo.cli import app
app(["compress", "tiny", "--recipe", "trim-only"], standalone_mode=False)
print(*(name in sys.modules for name in ("torch", "matplotlib", "prefect.server.api.server")))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves folders behind: not in the checkout
    source.mkdir()
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        if not name.startswith(("tests/", "docs/")) and (ROOT / name).exists():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                target.symlink_to(os.readlink(ROOT / name))
            else:
                target.hardlink_to(ROOT / name) if _one_disk(source) else target.write_bytes((ROOT / name).read_bytes())
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
    line += [source, source / "run"]
    subprocess.run(line, check=True, capture_output=True)
    return sorted(folder.glob("*.whl"))


def _one_disk(folder: Path) -> bool:
    return os.stat(folder).st_dev == os.stat(ROOT).st_dev


def test_each_puts_one_name_into_site_packages(wheels: list[Path]):
    for wheel, expected in zip(wheels, ("ndogo", "ndogo_run"), strict=True):
        names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
        assert {name for name in names if not name.endswith(".dist-info")} == {expected}


def test_the_page_is_inside_with_its_runtime_and_licences(wheels: list[Path]):
    inside = {name.removeprefix("ndogo/compressors/export/web/") for name in zipfile.ZipFile(wheels[0]).namelist()}
    assert {"index.html", "labels.json", "vendor/ort.mjs", "vendor/ort-wasm.bin", "vendor/LICENCES.txt"} <= inside


@pytest.mark.timeout(600)
def test_a_run_outside_the_repository_completes(wheels: list[Path], tmp_path: Path):
    site, home = tmp_path / "site", tmp_path / "home"
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(site)  # what installing without dependencies does
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "NDOGO_", "MLFLOW_"))}
    environment |= {"PYTHONPATH": str(site), "NDOGO_HOME": str(home)}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where, teacher = run("-c", INSIDE).split()
    assert where == str(site / "ndogo") and teacher.startswith(where)
    text, benchmarks = tiny.write(tmp_path / "tiny")
    file = home / "languages" / "tiny.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"name: tiny\ncorpus: {text}\nbenchmarks: {benchmarks}\nteacher: {teacher}\n")
    assert "trim-only" in run("-m", "ndogo", "recipes")
    told = run("-m", "ndogo", "compress", "tiny", "--recipe", "trim-only")
    assert "tiny-trim-only-0" in told and str(home / "bundles") in told
    found = run("-c", FOUND)  # the same again: nothing is made, and what only making needs is not loaded
    assert "tiny-trim-only-0" in found and found.splitlines()[-1] == "False False False"
