"""hidden: L = sum over pairs (i, j) of 1 / (N H_t) sum_n ||H_s^i W_i - H_t^j||^2 over N real positions.

TinyBERT (1909.10351); the maps phi of Udagawa et al. 2023 (2310.08797, HS). W_i, one per student layer, where widths differ.
`standardise`: each of the teacher's channels has mean 0 and variance 1 over some text, so that none outweighs; every pair has a
map with a bias, which starts from the least-squares fit on that text.
"""

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator

from ndogo.compressors.distillation.layer_maps import LayerMap, Pair, pairs_of
from ndogo.compressors.distillation.objective import StateObjective, Wanted
from ndogo.core.frozen import Later

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ndogo.compressors.distillation.taps import Seen
    from ndogo.core.architectures import Shape


def _read_depths(given: Any) -> Any:
    if not isinstance(given, dict):
        raise ValueError(f"depths are shares with weights, such as {{1/2: 0.5, 1: 1.0}}; got {given!r}")
    try:
        shares = {str(share): Fraction(str(share)) for share in given}
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"a depth is a share such as 1/2; got {list(given)}") from error
    if not all(0 <= share <= 1 for share in shares.values()) or not all(weight > 0 for weight in given.values()):
        raise ValueError(f"a depth lies between 0 and 1, and its weight above 0; got {given}")
    return {str(share): weight for share, weight in given.items()}


Depths = Annotated[dict[str, float], BeforeValidator(_read_depths)]


class Hidden(StateObjective):
    """Mean squared error of hidden states, through a learned projection where widths differ."""

    name: ClassVar[str] = "hidden"
    map: LayerMap = "uniform-last"
    """Which teacher layer each student layer learns from, or pairs such as [[3, 6], [6, 12]]."""
    embeddings: bool = False
    """Also match the embedding output (state 0), as TinyBERT and BiStil do."""
    depths: Annotated[Depths | None, Later()] = None
    """In place of a map: depths of both models, each with its weight, such as {1/3: 0.5, 2/3: 0.5, 1: 1.0}."""
    standardise: Annotated[bool, Later()] = False
    """Learn the teacher's channels brought to mean 0 and variance 1 over some text; maps start from least squares."""

    def pairs(self, student: "Shape", teacher: "Shape") -> tuple[Pair, ...]:
        """The pairs that are compared."""
        return tuple(self._weights(student, teacher))

    def _weights(self, student: "Shape", teacher: "Shape") -> dict[Pair, float]:
        if self.depths:
            shares = {Fraction(share): weight for share, weight in self.depths.items()}
            return {(round(s * student.layers), round(s * teacher.layers)): w for s, w in shares.items()}
        pairs = pairs_of(self.map, student.layers, teacher.layers)
        pairs = ((0, 0), *pairs) if self.embeddings and (0, 0) not in pairs else pairs
        return dict.fromkeys(pairs, 1.0)

    def reads(self, student: "Shape", teacher: "Shape") -> tuple[Wanted, Wanted]:
        """The states of the pairs."""
        pairs = self.pairs(student, teacher)
        ours, theirs = frozenset(i for i, _ in pairs), frozenset(j for _, j in pairs)
        if not self.standardise:
            return Wanted(states=ours), Wanted(states=theirs)
        last = student.layers in ours, teacher.layers in theirs
        below = ours - {student.layers}, theirs - {teacher.layers}
        return Wanted(states=below[0], last=last[0]), Wanted(states=below[1], last=last[1])

    def projections(self, student: "Shape", teacher: "Shape", length: int) -> "nn.Module":
        """One per student layer; standardised, one per pair, that of both last layers being the map of the final outputs."""
        from torch import nn

        from ndogo.compressors.distillation.squares import projection

        pairs = self.pairs(student, teacher)
        if self.standardise:
            from ndogo.compressors.distillation.maps import LastMap, StandardMap

            last = (student.layers, teacher.layers)
            kinds = {pair: LastMap if pair == last else StandardMap for pair in pairs}
            return nn.ModuleDict({_key(p, last): kinds[p](p, student.hidden, teacher.hidden) for p in pairs})
        return nn.ModuleDict({str(i): projection(student.hidden, teacher.hidden) for i, _ in pairs})

    def loss(self, student: "Seen", teacher: "Seen", real_BL: "Tensor", projections: Any) -> "Tensor":
        """The sum over real positions."""
        import torch

        from ndogo.compressors.distillation.squares import squared_error

        weights = self._weights(student.shape, teacher.shape)
        if self.standardise:
            last = (student.shape.layers, teacher.shape.layers)
            maps = {pair: projections[_key(pair, last)] for pair in weights}
            errors = [
                squared_error(m(student.at(i)), m.standardised(teacher.at(j)), real_BL) for (i, j), m in maps.items()
            ]
        else:
            projected = {i: projections[str(i)](student.states[i]) for i in frozenset(i for i, _ in weights)}
            errors = [squared_error(projected[i], teacher.states[j], real_BL) for i, j in weights]
        weighted = [e if w == 1 else w * e for w, e in zip(weights.values(), errors, strict=True)]
        return torch.stack(weighted).sum()


def _key(pair: Pair, last: Pair) -> str:
    return "last" if pair == last else f"{pair[0]}-{pair[1]}"
