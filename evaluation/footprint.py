"""A process of its own that loads one encoder, runs it once and prints its peak memory.

`python -m ndogo.evaluation.footprint DIR BATCH LENGTH` prints JSON: `idle` and `peak`, bytes of resident memory with the
libraries alone and at the highest point.
"""

import json
import resource
import sys
from pathlib import Path

import torch

from ndogo.evaluation.encoder import load_encoder


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes; where there is no /proc, the largest size so far."""
    status = Path("/proc/self/status")
    if not status.is_file():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def main(path: str, batch: str, length: str) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    idle = resident("VmRSS")
    encoder = load_encoder(Path(path))
    ids_BL = torch.randint(encoder.model.config.vocab_size, (int(batch), int(length)))
    with torch.inference_mode():
        encoder.model(input_ids=ids_BL)
    sys.stdout.write(json.dumps({"idle": idle, "peak": resident("VmHWM")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
