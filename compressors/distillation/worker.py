"""One of several training processes: `-m ndogo.compressors.distillation.worker JOB.json PARENT_PID` under a launcher."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from ndogo.compressors.distillation.devices import exact, process_group
from ndogo.compressors.distillation.job import TrainingJob
from ndogo.compressors.distillation.launch import MARK
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.core.errors import NdogoError


def main(file: Path, parent: int | None) -> None:
    """Train as one process of the launcher's group; the first one reports on stdout."""
    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    group = process_group()

    def report(doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
        if parent is not None:
            os.kill(parent, 0)  # an orphan must not go on beside its successor: this raises when the parent is gone
        if group.rank == 0:
            _say({"doing": doing, "done": done, "total": total, "numbers": numbers})

    try:
        job = TrainingJob.model_validate_json(file.read_bytes())
        with exact(group.device, job.settings.deterministic):
            result = Trainer(job, group, report).train()
    except NdogoError as error:
        told = {"what": error.what, "where": error.where, "cure": error.cure}
        file.with_name("error.json").write_text(json.dumps(told))
        raise
    if group.rank == 0:
        _say({"result": result})
    if group.size > 1:
        torch.distributed.destroy_process_group()


def _say(told: Mapping[str, object]) -> None:
    sys.stdout.write(MARK + json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
