"""The script that waits for a GPU runs without one, at small shapes."""

import re

import pytest

from benchmarks import gpu


def test_the_gpu_script_measures_every_line_at_small_shapes(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py", "--small", "--seconds", "0.01"])
    monkeypatch.setenv("NDOGO_DEVICE", "cpu")
    gpu.main()
    told = capsys.readouterr().out
    assert "small shapes" in told.splitlines()[0]
    rows = [line.split(" | ") for line in told.splitlines() if " -> " in line]
    assert [row[0].removeprefix("| ") for row in rows] == [*(pair.name for pair in gpu.PAIRS), gpu.PAIRS[0].name]
    assert [row[1] for row in rows] == ["yes", "yes", "yes", "no"]
    assert all(int(row[3].replace(",", "")) > 0 and 0 <= int(row[5].rstrip("%")) < 100 for row in rows)
    assert "at most 0.00% apart" in told, "both trainings were on the CPU"
    assert re.search(r"Fine-tuning, 4 steps .*: \d+\.\d ms a step", told)
