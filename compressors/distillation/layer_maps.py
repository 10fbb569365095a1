"""Which teacher layers each student layer learns from (Udagawa et al. 2023, arXiv 2310.08797). Layers count from 1."""

from typing import Literal

from ndogo.core.errors import NdogoError

Pair = tuple[int, int]
LayerMap = (
    Literal["last", "last-pair", "uniform", "uniform-first", "uniform-last", "consecutive", "all"] | tuple[Pair, ...]
)
"""Which teacher layers each student layer learns from; 1-based, 0 = the embeddings.

last: the teacher's last layers, one each; last-pair: only last to last; uniform: the last layer of each block of the teacher's,
uniform-first: the first of each; uniform-last: uniform and last together; consecutive: the whole block, ends included;
all: layer by layer, equal depths; or explicit (student, teacher) pairs."""


def pairs_of(named: LayerMap, student: int, teacher: int) -> tuple[Pair, ...]:
    """The (student layer, teacher layer) pairs of a map, for models with so many layers; a pair stands once.

    Where the depths do not divide each other, a block ends at the layer below its exact end.

    :raises NdogoError: the map does not fit the depths, or a pair names a layer that is not there.
    """
    if isinstance(named, tuple):
        return _checked(named, student, teacher)
    if student > teacher:
        raise NdogoError(
            f"The student has {student} layers, more than the teacher's {teacher}.",
            where=f"objective: map: {named}",
            cure="Give explicit pairs: map: [[1, 1], ...].",
        )
    if named == "all" and student != teacher:
        raise NdogoError(
            f"The map `all` needs equal depths; the student has {student} layers, the teacher {teacher}.",
            where="objective: map: all",
            cure="Use uniform, last, uniform-last or consecutive.",
        )
    if named == "last-pair":
        return ((student, teacher),)
    found = ((i, j) for i in range(1, student + 1) for j in _taught(named, i, student, teacher))
    return tuple(dict.fromkeys(found))


def _taught(named: str, i: int, student: int, teacher: int) -> list[int]:
    """phi(i) of the paper; `uniform-first` is the 0-based reading of `uniform` that much public code has."""
    if named == "consecutive":
        k = -(-teacher // student)
        first, last = min(max(1, k * (i - 1)), teacher), min(k * i, teacher)
        return list(range(first, last + 1))
    uniform, last = i * teacher // student, i + teacher - student
    return {
        "last": [last],
        "all": [i],
        "uniform": [uniform],
        "uniform-first": [(i - 1) * teacher // student + 1],
        "uniform-last": [uniform, last],
    }[named]


def _checked(pairs: tuple[Pair, ...], student: int, teacher: int) -> tuple[Pair, ...]:
    for i, j in pairs:
        if not (0 <= i <= student and 0 <= j <= teacher):
            raise NdogoError(
                f"The pair ({i}, {j}) names a layer that is not there.",
                where="objective: map",
                cure=f"The student has layers 1 to {student}, the teacher 1 to {teacher}; 0 is the embeddings.",
            )
    return pairs


def one_layer(asked: int | None, layers: int, objective: str) -> int:
    """Which of the teacher's `layers` an objective on one pair reads, from 1: the last unless asked, negative from the end.

    :raises NdogoError: there is no such layer.
    """
    layer = layers if asked is None else asked + layers + 1 if asked < 0 else asked
    if not 1 <= layer <= layers:
        raise NdogoError(
            f"The teacher has no layer {asked}.",
            where=f"objective: {objective}: teacher_layer",
            cure=f"Layers are 1 to {layers}, or -1 to -{layers} from the end.",
        )
    return layer
