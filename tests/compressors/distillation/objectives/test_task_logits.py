"""task_logits against its naive version: heads of texts and of tokens, labels that exclude each other and not, one label."""

import copy
from types import SimpleNamespace

import pytest
import torch

from ndogo.compressors.distillation.losses import Losses
from ndogo.compressors.distillation.objective import wanted_by
from ndogo.compressors.distillation.objectives.task_logits import TaskLogits
from ndogo.core.architectures import shape_of, with_shape
from tests.compressors.cases import model_of
from tests.compressors.distillation import naive
from tests.compressors.distillation.checks import FAMILIES, check, floats


@pytest.fixture
def headed(pico_model):
    """`headed(family, kind, labels, sizes)`: a random student and teacher with heads of so many labels, in float64."""

    def make(family, kind, labels, sizes, problem=None):
        config = model_of(pico_model(family), kind).config
        config.num_labels, config.problem_type = labels, problem
        torch.manual_seed(5)
        kinds = type(model_of(pico_model(family), kind))
        made = [kinds(with_shape(config, **sizes)), kinds(config)]
        for model in made:
            for parameter in model.parameters():
                parameter.data.add_(torch.randn_like(parameter) * 0.2)
        student, teacher = (naive.double(model) for model in made)
        return student, teacher.requires_grad_(False)

    return make


def whole(objective, s, t, learnt):
    """The sum over one sequence; `s.logits` are (labels) of a text or (tokens, labels)."""
    ours, theirs = (rows if rows.dim() == 2 else rows[None] for rows in (s.logits, t.logits))
    if ours.shape[-1] == 1:
        return ((ours - theirs) ** 2).sum()
    warmth = objective.temperature
    if s.model.config.problem_type == "multi_label_classification":
        chances = [
            [torch.stack([torch.sigmoid(z / warmth), 1 - torch.sigmoid(z / warmth)]) for z in rows.flatten()]
            for rows in (ours, theirs)
        ]
        return warmth**2 * sum(naive.kl(p, q) for q, p in zip(*chances, strict=True))
    rows = zip(ours, theirs, strict=True)
    return warmth**2 * sum(naive.kl(naive.softmax(b / warmth), naive.softmax(a / warmth)) for a, b in rows)


@pytest.mark.parametrize(("family", "sizes"), FAMILIES)
@pytest.mark.parametrize(("kind", "divisor"), [("token", "tokens"), ("sequence", "sequences")])
def test_value_and_gradient(family, sizes, kind, divisor, headed, ragged):
    check(TaskLogits(temperature=2.0), whole, headed(family, kind, 5, sizes), ragged, divisor=divisor)


@pytest.mark.parametrize(
    ("labels", "problem"), [(1, None), (1, "regression"), (200, None), (4, "multi_label_classification")]
)
def test_one_label_many_labels_and_labels_beside_each_other(labels, problem, headed, ragged):
    models = headed("xlmr", "sequence", labels, FAMILIES[0][1], problem)
    check(TaskLogits(), whole, models, ragged, divisor="sequences")


@pytest.mark.parametrize("kind", ["token", "sequence"])
def test_nothing_is_lost_on_the_teacher(kind, headed, ragged):
    _, teacher = headed("xlmr", kind, 5, {"layers": 2})
    student, shape = copy.deepcopy(teacher).requires_grad_(True), shape_of(teacher.config)
    objectives = {"task_logits": TaskLogits()}
    losses = Losses(student, teacher, objectives, {"task_logits": None}, wanted_by(objectives, shape, shape))
    (batch,) = ragged.batch.share(0, 1, 1000)
    assert floats(losses.compute(batch, ragged.denominators, seed=0))["task_logits"] == pytest.approx(0, abs=1e-12)
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert gradients and max(float(g.abs().max()) for g in gradients) < 1e-9


def test_a_batch_in_parts_is_the_whole_batch(headed, ragged):
    student, teacher = headed("bert", "sequence", 3, FAMILIES[1][1])
    ours, theirs = shape_of(student.config), shape_of(teacher.config)
    objectives = {"task_logits": TaskLogits()}
    losses = Losses(student, teacher, objectives, {"task_logits": None}, wanted_by(objectives, ours, theirs))
    alone = SimpleNamespace(size=1, rank=0)
    found = []
    for tokens in (1000, 12):
        parts = list(ragged.batch.share(0, 1, tokens))
        found.append(floats(losses.accumulate(parts, ragged.denominators, [0] * len(parts), alone))["task_logits"])
    assert found[0] == pytest.approx(found[1], rel=1e-12) and found[0] > 0
