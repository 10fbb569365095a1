"""What one process needs to train: plain values only, so that it can be handed to another process as JSON."""

import hashlib

from ndogo.compressors.distillation.objectives import Objectives
from ndogo.compressors.distillation.run import Resolved
from ndogo.compressors.distillation.settings import TrainingSettings
from ndogo.core.frozen import Frozen

NOT_IN_IDENTITY = {"student", "teacher", "out", "work", "corpus", "held_out", "teacher_cache"}
"""Paths: the same training goes on wherever its files lie."""


class TrainingJob(Frozen):
    """One training, whichever process does it."""

    student: str
    teacher: str | None
    out: str
    work: str
    corpus: str
    """The tokenised text's file."""
    held_out: str | None
    teacher_cache: str | None = None
    """Where what a teacher says is kept, for other trainings too; None: in `work`."""
    student_digest: str
    """Names the weights, the configuration and the tokenizer."""
    teacher_digest: str | None
    fingerprint: str
    """Names the text."""
    settings: TrainingSettings
    objectives: Objectives
    seed: int
    steps: int
    precision: Resolved
    """As resolved for the machine that prepared the job."""

    @property
    def identity(self) -> str:
        """Names the training: a checkpoint of another one must not be continued. Paths and devices do not count."""
        return hashlib.sha256(self.model_dump_json(exclude=NOT_IN_IDENTITY).encode()).hexdigest()[:16]
