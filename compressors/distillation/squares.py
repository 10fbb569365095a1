"""The squared error that several objectives share, and the projection where widths differ."""

import torch
from torch import nn


def squared_error(student_BLH: torch.Tensor, teacher_BLH: torch.Tensor, real_BL: torch.Tensor) -> torch.Tensor:
    """The sum over real positions of the mean over the width of the squared difference."""
    difference_BLH = _wide(student_BLH) - _wide(teacher_BLH)
    return difference_BLH.square().mean(-1).masked_fill(~real_BL, 0).sum()


def projection(student: int, teacher: int) -> nn.Module:
    """What brings the student's width to the teacher's: learnt, without bias; nothing where they agree."""
    return nn.Identity() if student == teacher else nn.Linear(student, teacher, bias=False)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
