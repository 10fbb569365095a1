"""What an exported model costs beside its teacher: bytes, milliseconds at batch 1, memory; one runtime, equal threads, in turn.

python benchmarks/ship.py [--teacher DIR] [--threads N] [NAME=EXPORT ...]

Without names the pocket teacher is exported and compared with itself in PyTorch.
"""

import argparse
import gzip
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel

from ndogo.compressors.export import Settings, export
from ndogo.compressors.export.parity import session_of
from ndogo.core.exported import FOLDER, MANIFEST, TOKENIZER

LENGTHS = (32, 128)
ROUNDS, SECONDS = 200, 20.0
MEMORY = """
import sys, numpy as np, ndogo_run
model = ndogo_run.load(sys.argv[1], file=sys.argv[2], threads=1)
ids = np.full((1, 128), 7); model.session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])
"""


def vnni() -> str:
    """Whether the CPU adds products of bytes in one instruction."""
    file = Path("/proc/cpuinfo")
    flags = set(file.read_text().split()) if file.is_file() else set()
    return ", ".join(sorted(flags & {"avx512_vnni", "avx_vnni"})) or "no VNNI"


def files(exports: Mapping[str, Path]) -> dict[str, tuple[Path, str]]:
    """Every file of every export, by a name for the table."""
    return {
        f"{name}, {entry['precision']}": (path / FOLDER, file)
        for name, path in exports.items()
        for file, entry in json.loads((path / FOLDER / MANIFEST).read_text())["files"].items()
    }


def runners(found: Mapping[str, tuple[Path, str]], teacher: Path, threads: int) -> dict[str, Callable[[int], object]]:
    """What is timed: a function of a row's length."""

    def of(session: object) -> Callable[[int], object]:
        def run(length: int) -> object:
            ids = (np.arange(length)[None] * 37 + 11) % 1000
            return session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})  # type: ignore[attr-defined]

        return run

    made = {name: of(session_of((folder / file).read_bytes(), threads)) for name, (folder, file) in found.items()}
    model = AutoModel.from_pretrained(teacher, dtype=torch.float32, local_files_only=True).eval()

    def by_torch(length: int) -> object:
        with torch.inference_mode():
            return model(input_ids=(torch.arange(length)[None] * 37 + 11) % 1000)

    return {"teacher, PyTorch": by_torch} | made


def timed(
    run: Mapping[str, Callable[[int], object]], length: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of each, in turn, so that a busy machine is busy for all."""
    times: dict[str, list[float]] = {name: [] for name in run}
    began = time.perf_counter()
    for number in range(-3, ROUNDS):
        if number > 20 and time.perf_counter() - began > SECONDS * len(run) / 4:
            break
        for name, call in run.items():
            started = clock()
            call(length)
            if number >= 0:
                times[name].append(1000 * (clock() - started))
    return times


def table(found: Mapping[str, tuple[Path, str]], times: Mapping[int, Mapping[str, list[float]]]) -> str:
    """Markdown: one row per file, the teacher first; `times faster` is the median of the ratios turn by turn."""
    heads = ["model", "MB", "MB gzip", "tokenizer MB", "peak MB"]
    heads += [f"{what}, {n} tokens" for n in times for what in ("p50 ms", "p95 ms", "times faster")]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for name in next(iter(times.values())):
        row = [name, "", "", "", ""]
        if name in found:
            folder, file = found[name]
            raw = (folder / file).read_bytes()
            peak = subprocess.run(
                [sys.executable, "-c", MEMORY, folder, file], capture_output=True, text=True, check=True
            )
            sizes = (len(raw), len(gzip.compress(raw, 6)), (folder / TOKENIZER).stat().st_size)
            row = [name, *(f"{size / 1e6:.2f}" for size in sizes), f"{int(peak.stdout) / 1024:.0f}"]
        for length in times:
            own, first = np.array(times[length][name]), np.array(times[length]["teacher, PyTorch"])
            row += [f"{np.median(own):.2f}", f"{np.percentile(own, 95):.2f}", f"{np.median(first / own):.1f}"]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("exports", nargs="*", metavar="NAME=EXPORT")
    reader.add_argument("--teacher", type=Path, default=Path(__file__).parents[1] / "pocket" / "teacher")
    reader.add_argument("--threads", type=int, default=1)
    given = reader.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        exports = {name: Path(path) for name, path in (item.split("=", 1) for item in given.exports)}
        if not exports:
            export(given.teacher, Path(folder) / "out", Settings(("fp32", "fp16", "int8"), 16))
            exports = {"the same": Path(folder) / "out"}
        found = files(exports)
        run = runners(found, given.teacher, given.threads)
        alone = given.threads == 1  # the thread's own processor time, which others on the machine hardly lengthen
        clock = time.thread_time if alone else time.perf_counter
        times = {length: timed(run, length, clock) for length in LENGTHS}
        print(
            f"{platform.machine()}, {vnni()}, {given.threads} thread(s), {len(times[128]['teacher, PyTorch'])} rounds\n"
        )
        print(table(found, times))


if __name__ == "__main__":
    main()
