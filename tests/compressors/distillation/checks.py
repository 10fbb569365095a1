"""What every objective's test does: value and gradient against its naive version, nothing lost on the teacher itself."""

import copy

import pytest
import torch

from ndogo.compressors.distillation.loading import projections_of
from ndogo.compressors.distillation.losses import Losses
from ndogo.compressors.distillation.objective import wanted_by
from ndogo.core.architectures import shape_of
from tests.compressors.distillation.naive import Plain

NARROW = {"hidden": 16, "ffn": 24, "heads": 4, "layers": 2}
OTHER_HEADS = {"hidden": 16, "ffn": 24, "heads": 2, "layers": 2}
FAMILIES = [
    ("xlmr", NARROW),
    ("bert", NARROW),
    ("distilbert", NARROW),
    ("modernbert", OTHER_HEADS),
    ("eurobert", OTHER_HEADS),
]
NEAR = {"modernbert": 1e-6, "eurobert": 1e-6}
"""Its eager attention takes softmax in fp32 whatever the weights are."""
LENGTH = 12


def losses_for(student, teacher, objectives):
    """Losses whose projections are away from the identity, which would hide a missing transposition."""
    ours, theirs = shape_of(student.config), shape_of(teacher.config)
    torch.manual_seed(1)
    projections = projections_of(objectives, ours, theirs, LENGTH)
    for learnt in projections.values():
        learnt.double()
        for parameter in learnt.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return Losses(student, teacher, objectives, projections, wanted_by(objectives, ours, theirs))


def check(objective, naive, models, ragged, divisor="tokens"):
    """`naive(objective, student, teacher, learnt)` is the sum over one sequence; `divisor` is counted over the whole batch."""
    student, teacher = models
    name, near = objective.name, NEAR.get(student.config.model_type, 1e-9)
    objective = objective.model_copy(update={"weight": 0.7})
    losses = losses_for(student, teacher, {name: objective})
    parameters = losses.parameters()
    learnt = {key.removeprefix(f"{name}."): weight for key, weight in parameters.items() if key.startswith(f"{name}.")}
    sums = [
        naive(objective, Plain(student, sequence), Plain(teacher, sequence), learnt) for sequence in ragged.sequences
    ]
    value = sum(sums) / getattr(ragged.denominators, divisor)
    wanted = torch.autograd.grad(0.7 * value, list(parameters.values()), allow_unused=True)
    student.set_attn_implementation("sdpa")
    teacher.set_attn_implementation("sdpa")
    (batch,) = ragged.batch.share(0, 1, 1000)
    found = floats(losses.compute(batch, ragged.denominators, seed=0))
    assert found[name] == pytest.approx(value.item(), rel=near)
    assert any(g is not None and not g.is_sparse and g.abs().max() > 1e-6 for g in wanted)
    for (key, parameter), gradient in zip(parameters.items(), wanted, strict=True):
        ours = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        theirs = torch.zeros_like(parameter) if gradient is None else gradient
        theirs = theirs.to_dense() if theirs.is_sparse else theirs
        torch.testing.assert_close(ours, theirs, rtol=100 * near, atol=near, msg=lambda m, key=key: f"{key}: {m}")


def floats(values):
    """The objectives' values, taken off the device."""
    return {name: float(value) for name, value in values.items()}


def check_nothing_lost(objective, pair, ragged):
    """Value and gradient are 0 where the student is the teacher."""
    _, teacher = pair("xlmr", layers=2)
    student = copy.deepcopy(teacher).requires_grad_(True)
    shape, objectives = shape_of(teacher.config), {objective.name: objective}
    projections = projections_of(objectives, shape, shape, LENGTH)
    losses = Losses(student, teacher, objectives, projections, wanted_by(objectives, shape, shape))
    (batch,) = ragged.batch.share(0, 1, 1000)
    assert floats(losses.compute(batch, ragged.denominators, seed=0))[objective.name] == pytest.approx(0, abs=1e-12)
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert gradients and max(float(g.abs().max()) for g in gradients) < 1e-9
