"""More than one process: started from the same call, one per device, by torch's own launcher."""

import json
import os
import subprocess
import sys
from pathlib import Path

from ndogo.compressors.distillation.job import TrainingJob
from ndogo.core.errors import NdogoError
from ndogo.core.progress import Report

MARK = "@ndogo "
"""Begins the lines that the first process writes for us; everything else goes to stderr as it is."""
ROOT = Path(__file__).parents[3]


def train_in_processes(job: TrainingJob, processes: int, report: Report) -> dict[str, float]:
    """Train in so many processes of this machine and pass on what they report.

    For several machines run the same module under `accelerate launch` on each:
    `-m ndogo.compressors.distillation.worker JOB.json`.

    :raises NdogoError: what a process raised, or that one died; the last checkpoint is kept.
    """
    import torch

    file = Path(job.work) / "job.json"
    error = file.with_name("error.json")
    error.unlink(missing_ok=True)
    file.write_text(job.model_dump_json())
    threads = max(1, torch.get_num_threads() // processes)
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    numbers: dict[str, float] | None = None
    with subprocess.Popen(
        [*command, "-m", "ndogo.compressors.distillation.worker", str(file), str(os.getpid())],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)},
    ) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                if not line.startswith(MARK):
                    sys.stderr.write(line)
                    continue
                told = json.loads(line[len(MARK) :])
                numbers = told.get("result", numbers)
                if "doing" in told:
                    report(told["doing"], told["done"], told["total"], told["numbers"])
        except BaseException:
            child.terminate()
            raise
    if child.returncode or numbers is None:
        raise failure(error, child.returncode, job)
    return numbers


def failure(error: Path, code: int, job: TrainingJob) -> NdogoError:
    """What a process raised, where it could say so, else that it stopped."""
    if error.is_file():
        told = json.loads(error.read_text())
        return NdogoError(told["what"], where=told["where"], cure=told["cure"])
    return NdogoError(
        f"A training process stopped (exit status {code}).",
        where=job.work,
        cure="Its own message stands above. Start again: training goes on from the last checkpoint.",
    )
