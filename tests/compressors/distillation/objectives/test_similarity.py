"""similarity against its naive version, row by row; the same in parts and over processes."""

import math

import pytest
import torch
from pydantic import ValidationError

from ndogo.compressors.distillation.devices import ProcessGroup
from ndogo.compressors.distillation.objectives.similarity import Similarity
from tests.compressors.distillation.checks import FAMILIES, NARROW, floats, losses_for
from tests.compressors.distillation.naive import Plain, kl, softmax

ALONE = ProcessGroup(0, 1, torch.device("cpu"))


def cosine(a, b):
    return (a @ b) / (a.norm() * b.norm())


def naive(objective, student, teacher, last, sequences, bank=()):
    """The mean over rows, loop by loop."""
    means = [[sum(p.last) / len(p.last) for p in (Plain(m, s) for s in sequences)] for m in (student, teacher)]
    theirs = [vector - last.centre for vector in means[1]]
    ours = means[0]
    if objective.against == "teacher":
        ours = [v @ last.linear.weight.T + last.linear.bias - last.centre for v in ours]
    total = 0.0
    for i in range(len(ours)):
        if objective.against == "teacher":
            columns = [*theirs, *(v - last.centre for v in bank)]
            found, wanted = [cosine(ours[i], c) for c in columns], [cosine(theirs[i], c) for c in columns]
        else:
            others = [k for k in range(len(ours)) if k != i]
            found, wanted = [cosine(ours[i], ours[k]) for k in others], [cosine(theirs[i], theirs[k]) for k in others]
        sharp = [softmax(torch.stack(side) / objective.temperature) for side in (wanted, found)]
        total = total + kl(*sharp)
    return total / len(ours)


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
@pytest.mark.parametrize(
    "objective",
    [
        Similarity(temperature=0.3),
        Similarity(against="student", temperature=0.4),
        Similarity(stored=3, temperature=0.5),
    ],
    ids=["teacher", "student", "stored"],
)
def test_value_and_gradient_whole_and_in_parts(family, sizes, objective, pair, ragged):
    student, teacher = pair(family, **sizes)
    losses = losses_for(student, teacher, {"similarity": objective})
    last = losses.projections["similarity"]["last"]
    torch.manual_seed(5)
    last.centre = torch.randn(32, dtype=torch.float64)
    bank = torch.randn(3, 32, dtype=torch.float64) if objective.stored else torch.zeros(0, 32, dtype=torch.float64)
    if objective.stored:
        losses.projections["similarity"]["bank"].stored = bank
    parameters = {name: p for name, p in losses.parameters().items() if p.requires_grad}
    value = naive(objective, student, teacher, last, ragged.sequences, bank)
    wanted = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    for model in (student, teacher):
        model.set_attn_implementation("sdpa")
    for tokens in (1000, 12):
        student.zero_grad(set_to_none=True)
        losses.projections["similarity"].zero_grad(set_to_none=True)
        parts = list(ragged.batch.share(0, 1, tokens))
        found = floats(losses.accumulate(parts, ragged.denominators, [0] * len(parts), ALONE))
        assert found["similarity"] == pytest.approx(float(value), rel=1e-5) and value > 0.001
        for (name, parameter), gradient in zip(parameters.items(), wanted, strict=True):
            ours = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            theirs = torch.zeros_like(parameter) if gradient is None else gradient
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_a_text_alone_has_nobody_to_be_compared_with(pair, ragged):
    student, teacher = pair("xlmr", **NARROW)
    losses = losses_for(student, teacher, {"similarity": Similarity(against="student")})
    (batch,) = list(ragged.batch.share(0, 5, 1000))
    found = floats(losses.accumulate([batch], ragged.denominators, [0], ALONE))
    assert found["similarity"] == 0 and not math.isnan(float(student.base_model.embeddings.LayerNorm.weight.grad.sum()))


def test_stored_vectors_are_the_teachers():
    with pytest.raises(ValidationError, match="against: teacher"):
        Similarity(stored=8, against="student")
