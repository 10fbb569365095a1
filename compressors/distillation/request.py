"""What one process needs to train: plain values only, so that it can be handed to another process as JSON."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ndogo.compressors.distillation.run import Precision
from ndogo.core.objectives import Mlm, Objective
from ndogo.core.specs import KINDS, Adapt, Distil


@dataclass(frozen=True)
class Request:
    """One training, whichever process does it."""

    student: str
    teacher: str | None
    out: str
    work: str
    corpus: str
    """The tokenised text's file."""
    held_out: str | None
    fingerprint: str
    kind: str
    spec: dict
    seed: int
    steps: int
    precision: Precision

    @property
    def step(self) -> Adapt | Distil:
        """The specification."""
        read = KINDS[self.kind].model_validate(self.spec)
        assert isinstance(read, Adapt | Distil)
        return read

    @property
    def objectives(self) -> dict[str, Objective]:
        """Name -> specification; adapting is masked-language modelling alone."""
        step = self.step
        return dict(step.objective) if isinstance(step, Distil) else {"mlm": Mlm()}

    @property
    def identity(self) -> str:
        """Names the training: a checkpoint of another one must not be continued. Paths and devices do not count."""
        facts = {key: getattr(self, key) for key in ("fingerprint", "kind", "spec", "seed", "steps", "precision")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Request":
        """From JSON."""
        return cls(**json.loads(path.read_text()))
