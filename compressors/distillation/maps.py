"""What objectives on standardised states and on vectors learn beside the student, and what they measure once, before step 1.

Shapes: B rows, L positions, N real positions, H the student's width, T the teacher's, V that of a vector.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ndogo.compressors.distillation.taps import Seen
from ndogo.core.sentences import Vectors
from ndogo.core.vectors import pool

RIDGE = 1e-6
"""Of the mean square of an input: keeps the least-squares fit defined where channels depend on each other."""
FLAT = 1e-6
"""Of the mean variance: no channel is divided by less."""


class Measured(nn.Module):
    """Looks at some text before step 1 and keeps in its buffers (and in how its parameters start) what it saw."""

    rows = 0
    """How many sequences it must see; 0: as many as all see."""

    def watch(self, student: Seen, teacher: Seen, real_BL: Tensor) -> None:
        """See one batch."""
        raise NotImplementedError

    def settle(self) -> None:
        """Keep what was seen."""
        raise NotImplementedError


class StandardMap(Measured):
    """From the student's states of one depth to the teacher's of another, each of the teacher's channels brought to mean 0 and
    variance 1 over the text seen. It starts from the least-squares fit.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, pair: tuple[int, int], student: int, teacher: int) -> None:
        super().__init__()
        self.pair = pair
        self.linear = nn.Linear(student, teacher)
        self.register_buffer("mean", torch.zeros(teacher))
        self.register_buffer("spread", torch.ones(teacher))
        self._sums: list[Tensor] = []

    def standardised(self, teacher_BLT: Tensor) -> Tensor:
        """The teacher's states as they are learnt."""
        return (teacher_BLT - self.mean) / self.spread

    def forward(self, student_BLH: Tensor) -> Tensor:
        """The student's states where the teacher's, standardised, should be, (B, L, T)."""
        mapped: Tensor = self.linear(student_BLH)
        return mapped

    @torch.no_grad()
    def watch(self, student: Seen, teacher: Seen, real_BL: Tensor) -> None:
        """Add the moments of a batch."""
        ours = student.at(self.pair[0])[real_BL].double()
        theirs_NT = teacher.at(self.pair[1])[real_BL].double()
        ours_N1 = torch.cat([ours, torch.ones_like(ours[:, :1])], 1)
        sums = [ours_N1.T @ ours_N1, ours_N1.T @ theirs_NT, theirs_NT.square().sum(0)]
        self._sums = [old + new for old, new in zip(self._sums, sums, strict=True)] if self._sums else sums

    @torch.no_grad()
    def settle(self) -> None:
        """Fix the statistics, and start the map from the fit."""
        square, product, sizes_T = self._sums
        count = square[-1, -1]
        mean_T = product[-1] / count
        variance_T = sizes_T / count - mean_T.square()
        spread_T = variance_T.clamp(min=float(variance_T.mean()) * FLAT).sqrt()
        eye = torch.eye(len(square), dtype=square.dtype, device=square.device)
        fitted = torch.linalg.solve(square + eye * RIDGE * square.diagonal().mean(), product)
        self.mean.copy_(mean_T)
        self.spread.copy_(spread_T)
        self.linear.weight.copy_((fitted[:-1] / spread_T).T)
        self.linear.bias.copy_((fitted[-1] - mean_T) / spread_T)
        self._sums = []


class LastMap(StandardMap):
    """The map of the encoders' final outputs, which is also that of vectors: one for all objectives of a training.

    Vectors are centred: the teacher's mean vector is subtracted on both sides.
    """

    centre: Tensor

    def __init__(self, pair: tuple[int, int], student: int, teacher: int) -> None:
        super().__init__(pair, student, teacher)
        self.pooling, self.beyond = "mean", nn.Sequential()
        self.register_buffer("centre", torch.zeros(teacher))
        self._vectors: list[Tensor] = []

    def read_as(self, vectors: Vectors, dense: nn.Sequential) -> None:
        """Make vectors as the teacher's folder says."""
        self.pooling, self.beyond = vectors.pooling, dense
        width = next((layer.out_features for layer in reversed(dense) if isinstance(layer, nn.Linear)), len(self.mean))
        self.centre = torch.zeros(width)

    def pooled(self, seen: Seen, real_BL: Tensor) -> Tensor:
        """One vector per row in the width of the states, (B, H), in the precision of the map."""
        assert seen.last_BLH is not None
        return pool(seen.last_BLH.to(self.linear.weight.dtype), real_BL, self.pooling)

    def of_student(self, seen: Seen, real_BL: Tensor) -> Tensor:
        """The student's vectors in the teacher's space, centred, (B, V)."""
        with torch.autocast(real_BL.device.type, enabled=False):
            return self._through(self.pooled(seen, real_BL)) - self.centre

    def of_teacher(self, seen: Seen, real_BL: Tensor) -> Tensor:
        """The teacher's vectors, centred, (B, V)."""
        with torch.autocast(real_BL.device.type, enabled=False):
            vectors: Tensor = self.beyond(self.pooled(seen, real_BL))
            return vectors - self.centre

    @torch.no_grad()
    def undone(self) -> nn.Linear:
        """From the student's pooled states to the teacher's vectors, standardisation and centring undone: the dense layer that a
        student in the teacher's space ends with.
        """
        width = self.linear.in_features
        at_0 = self._through(self.linear.weight.new_zeros(1, width))
        dense = nn.Linear(width, at_0.shape[1])
        dense.bias.copy_(at_0[0])
        dense.weight.copy_((self._through(torch.eye(width).to(at_0)) - at_0).T)
        return dense

    def _through(self, pooled_BH: Tensor) -> Tensor:
        vectors: Tensor = self.beyond(self.linear(pooled_BH) * self.spread + self.mean)
        return vectors

    @torch.no_grad()
    def watch(self, student: Seen, teacher: Seen, real_BL: Tensor) -> None:
        """Add a batch's moments and the teacher's vectors."""
        super().watch(student, teacher, real_BL)
        vectors = (self.of_teacher(teacher, real_BL) + self.centre).double()
        self._vectors.append(torch.cat([vectors.sum(0), vectors.new_full((1,), len(vectors))]))

    @torch.no_grad()
    def settle(self) -> None:
        """As the map of any depth; and the mean vector."""
        super().settle()
        total = torch.stack(self._vectors).sum(0)
        self.centre.copy_(total[:-1] / total[-1])
        self._vectors = []


class Bank(Measured):
    """Vectors of the teacher that each row is compared with besides its batch: those of the first sequences seen, not centred."""

    stored: Tensor

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.register_buffer("stored", torch.zeros(0, 0))
        self.pooling, self.beyond = "mean", nn.Sequential()
        self._seen: list[Tensor] = []

    def read_as(self, vectors: Vectors, dense: nn.Sequential) -> None:
        """Make vectors as the teacher's folder says."""
        self.pooling, self.beyond = vectors.pooling, dense

    @torch.no_grad()
    def watch(self, student: Seen, teacher: Seen, real_BL: Tensor) -> None:
        """See the teacher's vectors of one batch."""
        assert teacher.last_BLH is not None and student.last_BLH is not None
        states = teacher.last_BLH.to(torch.promote_types(teacher.last_BLH.dtype, torch.float32))
        self._seen.append(self.beyond(pool(states, real_BL, self.pooling)))

    def settle(self) -> None:
        """Keep as many as were asked for, or all."""
        self.stored = torch.cat(self._seen)[: self.rows]
        self._seen = []


def shared(projections: Mapping[str, nn.Module]) -> None:
    """Make the map of the final outputs one for all objectives that have it, in place."""
    first: nn.Module | None = None
    for learnt in projections.values():
        if isinstance(learnt, nn.ModuleDict) and "last" in learnt and isinstance(learnt["last"], LastMap):
            first = learnt["last"] if first is None else first
            learnt["last"] = first


def measured(projections: Mapping[str, nn.Module]) -> Iterator[tuple[str, Measured]]:
    """Everything that looks at text before step 1, by name, each once."""
    known: set[int] = set()
    for name, learnt in projections.items():
        for part, module in learnt.named_modules():
            if isinstance(module, Measured) and id(module) not in known:
                known.add(id(module))
                yield f"{name}.{part}", module
