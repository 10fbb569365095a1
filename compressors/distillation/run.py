"""What a training is given besides the models, the settings and the objectives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ndogo.core.progress import Report, silent
from ndogo.core.text import Lines

Resolved = Literal["fp32", "bf16", "fp16"]
Precision = Literal["auto"] | Resolved


@dataclass(frozen=True)
class TrainingRun:
    """Text, seed, place and means of one training. `work` holds checkpoints and tokenised text; the caller deletes it."""

    lines: Lines
    fingerprint: str
    """Names the text: a checkpoint made on another one is refused."""
    work: Path
    held_out: Lines | None = None
    seed: int = 0
    token_cap: int | None = None
    """Train on at most so many tokens (`scale: pocket`)."""
    devices: int | Literal["auto"] = "auto"
    """Processes, one device each; auto: every GPU, else one process on the CPU."""
    precision: Precision = "auto"
    """Of the matrix products; auto: bf16 where the hardware computes in it, else fp16 on a GPU and fp32 on a processor."""
    report: Report = silent
    teacher_cache: Path | None = None
    """Where what a teacher says is kept, for other trainings too; None: in `work`."""
