"""The script behind docs/cuts.md runs on any model directory and replaces its own block only."""

import subprocess
import sys
from pathlib import Path

from tests.pico import TEXT

ROOT = Path(__file__).parents[2]


def test_the_script_writes_its_tables_between_its_marks(pico_model, tmp_path):
    text, page = tmp_path / "text.txt", tmp_path / "cuts.md"
    text.write_text("\n".join(TEXT[:9]) + "\n")
    page.write_text("before\n\n<!-- cuts: pico -->\nold\n<!-- end: pico -->\n\nafter\n")
    asked = [sys.executable, "benchmarks/cuts.py", "pico", pico_model("bert"), text, "--seeds", "0"]
    small = ["--sentences", "4", "--held-out", "3", "--write", page]
    done = subprocess.run([*map(str, asked + small)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = page.read_text()
    assert written.startswith("before\n\n<!-- cuts: pico -->\nWhole model (2 layers, hidden 32")
    assert written.endswith("<!-- end: pico -->\n\nafter\n") and "old" not in written
    for method in (
        "| stride-last |",
        "| importance: loss |",
        "| self |",
        "| pca, heads: shrink |",
        "| first, heads: recut |",
    ):
        assert written.count(method) == 1, method
    assert written.count("**") >= 2 * 3 * 3, "the best of each column is bold"
