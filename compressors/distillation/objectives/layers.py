"""Which single teacher layer an objective on one pair of layers reads."""

from ndogo.core.architectures import Shape
from ndogo.core.errors import NdogoError


def teacher_layer(asked: int | None, teacher: Shape, objective: str) -> int:
    """1-based from 1-based, or negative from the end; the last by default.

    :raises NdogoError: there is no such layer.
    """
    layer = teacher.layers if asked is None else asked + teacher.layers + 1 if asked < 0 else asked
    if not 1 <= layer <= teacher.layers:
        raise NdogoError(
            f"The teacher has no layer {asked}.",
            where=f"objective: {objective}: teacher_layer",
            cure=f"Layers are 1 to {teacher.layers}, or -1 to -{teacher.layers} from the end.",
        )
    return layer
