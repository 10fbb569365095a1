"""Value and gradient of every objective against the naive ones; zero when the student is the teacher."""

import copy

import numpy as np
import pytest
import torch

from ndogo.compressors.distillation import vocabulary
from ndogo.compressors.distillation.batches import Lot
from ndogo.compressors.distillation.layer_maps import pairs_of
from ndogo.compressors.distillation.lesson import Lesson
from ndogo.compressors.distillation.objectives import state_terms, vocabulary_terms
from ndogo.compressors.distillation.objectives.relations import relation_heads
from ndogo.compressors.distillation.teachers import restrict
from ndogo.core.architectures import shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer
from ndogo.core.objectives import KINDS
from tests.compressors.distillation import naive

NARROW = {"hidden": 16, "ffn": 24, "heads": 4, "layers": 2}
OTHER_HEADS = {"hidden": 16, "ffn": 24, "heads": 2, "layers": 2}
CASES = [
    ("mlm", {}, NARROW),
    ("logits_kl", {"temperature": 2.0}, NARROW),
    ("logits_kl", {"temperature": 1.5, "direction": "reverse", "positions": "all"}, NARROW),
    ("logits_mse", {"positions": "all"}, NARROW),
    ("logits_mse", {}, NARROW),
    ("logits_ce", {"positions": "all"}, NARROW),
    ("hidden", {"map": "uniform-last"}, NARROW),
    ("hidden", {"map": ((1, 2), (2, 0)), "embeddings": True}, NARROW | {"hidden": 32}),
    ("relations", {}, NARROW),
    ("relations", {"q": 0.5, "k": 0, "v": 1.5, "heads": 8, "teacher_layer": -2}, OTHER_HEADS),
    ("direct", {"teacher_layer": 1}, NARROW),
    ("attention_scores", {"map": "uniform"}, NARROW),
    ("attention_maps", {}, OTHER_HEADS),
    ("attention_maps", {"map": "uniform", "heads": "each"}, NARROW),
    ("attention_maps", {"heads": "each", "projection": "head_mix"}, OTHER_HEADS),
    ("attention_maps", {"projection": "per_row"}, NARROW),
    ("attention_maps", {"projection": "linear_flat"}, NARROW),
    ("cosine", {}, NARROW),
    ("embedding", {}, NARROW),
]


def lesson_for(student, teacher, objectives):
    specs = {name: KINDS[name].model_validate(given) for name, given in objectives.items()}
    torch.manual_seed(1)
    terms = state_terms(specs, shape_of(student.config), shape_of(teacher.config), 12)
    for term in terms.values():
        if isinstance(term, torch.nn.Module):
            term.double()
            for parameter in term.parameters():  # away from the identity, which would hide a missing transposition
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    weights = {name: spec.weight for name, spec in specs.items()}
    return Lesson(student, teacher, weights, terms, vocabulary_terms(specs))


def naive_value(name, spec, lesson, student, sequence):
    """The naive sum over one sequence."""
    s, t = naive.Plain(student, sequence.ids), naive.Plain(lesson.teacher, sequence.ids)
    ours, theirs = shape_of(student.config), shape_of(lesson.teacher.config)
    term = lesson.terms.get(name)
    last = (ours.layers, theirs.layers)
    if name in lesson.vocabulary:
        return naive.logits_loss(name, spec, s.logits, t.logits, sequence.labels, getattr(spec, "positions", "masked"))
    if name == "relations":
        layers = (ours.layers, spec.teacher_layer % (theirs.layers + 1) if spec.teacher_layer else theirs.layers)
        return naive.relations(spec, s, t, relation_heads(spec, ours, theirs), layers)
    if name == "attention_scores":
        pairs = pairs_of(spec.map, *last)
        return sum(((s.scores(i, ours.heads) - t.scores(j, theirs.heads)) ** 2).sum() / ours.heads for i, j in pairs)
    if name == "attention_maps":
        pairs = pairs_of(spec.map, *last)
        learnt = dict(term.named_parameters())
        return sum(naive.attention_maps(spec, s, t, pair, learnt.get(f"projections.{pair[0]}")) for pair in pairs)
    learnt = {key: weight for key, weight in term.named_parameters()}

    def projected(x, key):
        return x @ learnt[key].T if key in learnt else x

    if name == "hidden":
        pairs = pairs_of(spec.map, *last) + (((0, 0),) if spec.embeddings else ())
        return sum(naive.mse_rows(projected(s.states[i], f"projections.{i}.weight"), t.states[j]) for i, j in pairs)
    if name == "direct":
        parts = zip("qkv", s.qkv(last[0]), t.qkv(spec.teacher_layer or last[1]), strict=True)
        return sum(naive.mse_rows(projected(a, f"projections.{key}.weight"), b) for key, a, b in parts)
    if name == "cosine":
        return naive.cosine(projected(s.last, "projection.weight"), t.last)
    return naive.mse_rows(projected(s.states[0], "projection.weight"), t.states[0])


def check(name, given, student, teacher, ragged, near=1e-9):
    lesson = lesson_for(student, teacher, {name: given | {"weight": 0.7}})
    spec = KINDS[name].model_validate(given)
    parameters = lesson.parameters()
    divisor = {"attention_scores": "pairs", "attention_maps": "pairs"}.get(name, "tokens")
    if name in lesson.vocabulary and lesson.vocabulary[name].positions == "masked":
        divisor = "masked"
    value = sum(naive_value(name, spec, lesson, student, sequence) for sequence in ragged.sequences)
    value = value / getattr(ragged.counts, divisor)
    wanted = torch.autograd.grad(0.7 * value, list(parameters.values()), allow_unused=True)
    student.set_attn_implementation("sdpa")
    teacher.set_attn_implementation("sdpa")
    (batch,) = ragged.lot.share(0, 1, 1000)
    found = lesson.run(batch, ragged.counts, seed=0)
    assert found[name] == pytest.approx(float(value), rel=near)
    assert any(g is not None and not g.is_sparse and g.abs().max() > 1e-6 for g in wanted)
    for (key, parameter), gradient in zip(parameters.items(), wanted, strict=True):
        ours = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        theirs = torch.zeros_like(parameter) if gradient is None else gradient
        theirs = theirs.to_dense() if theirs.is_sparse else theirs
        torch.testing.assert_close(ours, theirs, rtol=100 * near, atol=near, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize(("name", "given", "sizes"), CASES)
def test_value_and_gradient_equal_the_naive_ones(name, given, sizes, pair, ragged, monkeypatch):
    monkeypatch.setattr(vocabulary, "ELEMENTS", 3 * 220)  # a few rows per chunk
    check(name, given, *pair("xlmr", **sizes), ragged)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "eurobert"])
@pytest.mark.parametrize("name", ["mlm", "logits_mse", "hidden", "relations", "direct", "attention_maps", "cosine"])
def test_every_family_is_read_in_the_right_places(name, family, pair, ragged):
    # Not the last state where a final norm follows: transformers gives it after that, the objective reads the layer's own.
    given = {"hidden": {"map": ((1, 1), (1, 2)), "embeddings": True}, "attention_maps": {"map": "uniform"}}.get(
        name, {}
    )
    rotary = family in ("modernbert", "eurobert")
    sizes = NARROW | {"heads": 2} if rotary else NARROW
    near = 1e-6 if rotary else 1e-9  # their eager attention takes softmax in fp32 whatever the weights are
    check(name, given, *pair(family, **sizes), ragged, near)


def test_all_objectives_at_once_add_up(pair, ragged):
    student, teacher = pair("xlmr", **NARROW)
    names = list(KINDS)
    (batch,) = ragged.lot.share(0, 1, 1000)
    alone, gradients = {}, 0.0
    for name in names:
        lesson = lesson_for(student, teacher, {name: {"weight": 0.3}})
        alone |= lesson.run(batch, ragged.counts, seed=0)
        gradients = gradients + student.base_model.embeddings.word_embeddings.weight.grad.clone()
        student.zero_grad(set_to_none=True)
    lesson = lesson_for(student, teacher, {name: {"weight": 0.3} for name in names})
    for name, term in lesson.terms.items():
        if isinstance(term, torch.nn.Module):
            fresh = lesson_for(student, teacher, {name: {"weight": 0.3}}).terms[name]
            term.load_state_dict(fresh.state_dict())
    together = lesson.run(batch, ragged.counts, seed=0)
    assert together == pytest.approx(alone)
    torch.testing.assert_close(student.base_model.embeddings.word_embeddings.weight.grad, gradients)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("mlm", "logits_ce")])
def test_student_equal_to_the_teacher_loses_nothing(name, pair, ragged):
    _, teacher = pair("xlmr", layers=2)
    given = {"hidden": {"map": "all", "embeddings": True}, "attention_scores": {"map": "all"}}.get(name, {})
    specs = {name: KINDS[name].model_validate(given)}
    shape = shape_of(teacher.config)
    student = copy.deepcopy(teacher).requires_grad_(True)
    lesson = Lesson(student, teacher, {name: 1.0}, state_terms(specs, shape, shape, 12), vocabulary_terms(specs))
    (batch,) = ragged.lot.share(0, 1, 1000)
    assert lesson.run(batch, ragged.counts, seed=0)[name] == pytest.approx(0, abs=1e-12)
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert gradients and max(float(g.abs().max()) for g in gradients) < 1e-9


def test_padding_and_parts_change_nothing(pair, ragged):
    student, teacher = pair("xlmr", **NARROW)
    objectives = {name: {} for name in KINDS if name != "logits_kl"} | {"logits_kl": {"positions": "all"}}
    lesson = lesson_for(student, teacher, objectives)
    (batch,) = ragged.lot.share(0, 1, 1000)
    whole = lesson.run(batch, ragged.counts, seed=0)
    gradient = student.base_model.embeddings.word_embeddings.weight.grad.clone()
    student.zero_grad(set_to_none=True)
    wide = [np.pad(part, ((0, 0), (0, 6)), constant_values=fill) for part, fill in
            ((ragged.lot.ids_BL, 77), (ragged.lot.real_BL, False), (ragged.lot.labels_BL, -100))]  # fmt: skip
    padded = Lot(ragged.lot.rows, *wide)
    parts = [part for rank in (0, 1) for part in padded.share(rank, 2, 12)]
    assert len(parts) == 5
    sums = dict.fromkeys(whole, 0.0)
    for part in parts:
        for name, value in lesson.run(part, ragged.counts, seed=0).items():
            sums[name] += value
    assert sums == pytest.approx(whole, rel=1e-9)
    torch.testing.assert_close(student.base_model.embeddings.word_embeddings.weight.grad, gradient)


def test_a_trimmed_student_learns_from_the_untrimmed_teacher(pico_model, tmp_path):
    source = pico_model("bert")
    tokenizer = load_tokenizer(source)
    kept = [piece for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    kept = kept[:5] + kept[5:][::-3]  # specials first, then every third, in another order
    (tmp_path / "vocab.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
    ours = type(tokenizer)(vocab=str(tmp_path / "vocab.txt"), do_lower_case=False)
    assert ours.get_vocab() == {piece: row for row, piece in enumerate(kept)}
    whole, cut = load_model(source), restrict(load_model(source), tokenizer, ours)
    ids = torch.tensor([[2, 9, 30, 17, 3]])
    same = torch.tensor([[tokenizer.get_vocab()[kept[row]] for row in ids[0].tolist()]])
    rows = [tokenizer.get_vocab()[piece] for piece in kept]
    torch.testing.assert_close(cut(input_ids=ids).logits, whole(input_ids=same).logits[..., rows])


def test_a_student_with_foreign_pieces_is_refused(pico_model):
    with pytest.raises(NdogoError, match="do not share a vocabulary"):
        restrict(load_model(pico_model("bert")), *(load_tokenizer(pico_model(f)) for f in ("bert", "roberta")))


def test_relation_heads_must_divide_both_widths(pair):
    student, teacher = (shape_of(model.config) for model in pair("xlmr", **NARROW))
    with pytest.raises(NdogoError, match="3 relation heads"):
        relation_heads(KINDS["relations"](heads=3), student, teacher)
    assert relation_heads(KINDS["relations"](), student, teacher) == 4
