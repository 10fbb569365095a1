"""Hidden pruning: exact at full width, and below it equal to a masked model whose norms see the kept channels only."""

import copy

import pytest
import torch
from torch import nn

from ndogo.compressors.calibration import to_batches
from ndogo.compressors.width import refit
from ndogo.compressors.width.hidden import lower_rank, narrow_hidden, narrow_rotated
from ndogo.compressors.width.importance import score
from ndogo.compressors.width.rotation import basis, rotate_heads
from ndogo.compressors.width.saved import FILE
from ndogo.compressors.width.selection import best, heads_dropped, heads_recut, heads_shrunk
from ndogo.core.architectures import architecture_of, shape_of
from ndogo.core.axes import module_axes, stacked, widths
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer, parameters
from ndogo.core.progress import silent
from ndogo.steps.kinds.prune_hidden import PruneHidden
from ndogo.steps.step import Planning
from tests.compressors.cases import KINDS, answer, depth_of, fingerprint, lines, made, model_of, unchanged
from tests.pico import TEXT

SELECTIONS = ("first", "magnitude", "taylor", "activation")


def scores_of(model, folder, select):
    if select == "first":
        return None
    return score(model, select, to_batches(TEXT, load_tokenizer(folder), masked=True), silent)


def masked(model, keep):
    """The model with everything zeroed that is not kept, and norms over the kept channels."""
    other = copy.deepcopy(model)
    whole = widths(model)
    with torch.no_grad():
        for name, (out, into) in module_axes(model).items():
            module = other.get_submodule(name)
            for axis, dimension in ((out, 0), (into, 1)):
                if axis and isinstance(module, nn.Linear):
                    gone = torch.ones(whole[axis[0]] * len(axis), dtype=torch.bool)
                    gone[stacked(axis, keep, len(gone))] = False
                    (module.weight if dimension == 0 else module.weight.T)[gone] = 0
                    if dimension == 0 and module.bias is not None:
                        module.bias[gone] = 0
            if "Norm" in type(module).__name__:
                module.forward = narrow_norm(module, keep["hidden"])
    return other


def narrow_norm(norm, kept):
    """The norm by its formula, over the kept channels only."""

    def forward(states):
        seen = states[..., kept]
        if isinstance(norm, nn.LayerNorm):
            seen, epsilon = seen - seen.mean(-1, keepdim=True), norm.eps
        else:
            epsilon = norm.variance_epsilon
        out = torch.zeros_like(states)
        bias = getattr(norm, "bias", None)
        scaled = seen / (seen.square().mean(-1, keepdim=True) + epsilon).sqrt() * norm.weight[kept]
        out[..., kept] = scaled if bias is None else scaled + bias[kept]
        return out

    return forward


@pytest.mark.parametrize("heads", ["shrink", "drop"])
@pytest.mark.parametrize("kind", KINDS)
def test_pruned_is_masked_with_norms_over_what_is_kept(any_pico, kind, heads):
    model = model_of(any_pico, kind)
    if architecture_of(model.config).rotary and heads == "shrink":
        pytest.skip("refused, see below")
    before, scores = fingerprint(model), scores_of(model, any_pico, "magnitude")
    config = PruneHidden(size=24, heads=heads).plan(model.config, Planning(""))
    student = narrow_hidden(model, config, heads, scores)
    assert unchanged(model, before)
    shape, layers = shape_of(model.config), depth_of(model)
    if heads == "drop":
        keep = heads_dropped(scores, layers, 3, shape.heads, 8)
    else:
        keep = heads_shrunk(scores, layers, shape.heads, (8, 6))
    expected = masked(model, {"hidden": best(scores["hidden"], 24), **keep})
    if kind == "bare":  # the answer is the stream itself
        assert torch.allclose(answer(student), answer(expected)[..., best(scores["hidden"], 24)], rtol=0, atol=6e-6)
    else:
        assert torch.allclose(answer(student), answer(expected), rtol=0, atol=6e-6)


@pytest.mark.parametrize("select", SELECTIONS)
@pytest.mark.parametrize("heads", ["shrink", "drop", "recut"])
def test_full_width_is_the_teacher(any_pico, select, heads):
    model = model_of(any_pico, "lm")
    student = narrow_hidden(model, model.config, heads, scores_of(model, any_pico, select))
    assert torch.equal(answer(student), answer(model))


def test_svd_leaves_matrices_of_low_rank_alone_and_makes_others_the_nearest_ones(pico_model):
    for family in ("xlmr", "modernbert"):
        model = model_of(pico_model(family), "lm")
        before, expected = fingerprint(model), answer(model)
        lower_rank(model, 32)
        assert unchanged(model, before)
        lower_rank(model, 12)
        once = fingerprint(model)
        for name, (out, _) in module_axes(model).items():
            weight = before[f"{name}.weight"]
            if weight.dim() == 2 and len(out) < 2:
                lost = torch.linalg.svdvals(weight)[12:].norm()
                assert torch.isclose((once[f"{name}.weight"] - weight).norm(), lost, rtol=1e-3, atol=1e-5)
        assert not torch.allclose(answer(model), expected, atol=0.1)
        lower_rank(model, 12)
        assert all(torch.allclose(tensor, once[name], atol=2e-5) for name, tensor in model.state_dict().items())


def rotated(model, folder, size, heads):
    batches = to_batches(TEXT, load_tokenizer(folder), masked=False)
    config = PruneHidden(size=size, heads=heads).plan(model.config, Planning(""))
    scores = score(model, "pca", batches, silent)
    return *narrow_rotated(model, config, heads, scores, batches), basis(model, scores["moment"], config.hidden_size)


@pytest.mark.parametrize("heads", ["shrink", "drop"])
@pytest.mark.parametrize("kind", KINDS)
def test_pca_at_full_width_is_the_teacher_but_for_rounding(any_pico, kind, heads):
    model = model_of(any_pico, kind)
    if architecture_of(model.config).rotary and heads == "shrink":
        pytest.skip("refused, see below")
    before, expected = fingerprint(model), answer(model)
    student, lost, directions = rotated(model, any_pico, 32, heads)
    made = answer(student) if kind != "bare" else answer(student) @ directions.T.float()
    assert unchanged(model, before)
    assert lost < 6e-12 and torch.allclose(made, expected, rtol=0, atol=2e-5)


def test_pca_keeps_what_lies_in_a_subspace(pico_model):
    """A model whose stream lives in 16 of 32 channels loses nothing by pca; the first 16 channels lose much."""
    model = model_of(pico_model("bert"), "bare")
    live = torch.randperm(32, generator=torch.Generator().manual_seed(0))[:16]
    dead = torch.ones(32, dtype=torch.bool)
    dead[live] = False
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight[dead] = module.bias[dead] = 0
    student, lost, _ = rotated(model, pico_model("bert"), 16, "drop")
    assert lost < 0.02
    assert student.config.hidden_size == 16


def test_heads_are_rotated_without_a_change(pico_model):
    for family in ("xlmr", "bert", "distilbert"):
        model = model_of(pico_model(family), "lm")
        expected = answer(model)
        rotate_heads(model, torch.eye(32))
        assert torch.allclose(answer(model), expected, rtol=0, atol=7e-6)
        query = widths(model)["qk.0"]
        layer = model.base_model.get_submodule(architecture_of(model.config).layers)[0]
        rows = layer.get_submodule(architecture_of(model.config).value).weight.norm(dim=1).view(4, -1)
        assert query == 32 and (rows.diff(dim=1) <= 1e-5).all(), "first dimensions must carry most"


def test_pca_reports_its_loss_and_serves_another_width(pico_model, tmp_path):
    source, numbers = pico_model("xlmr"), {}
    for name, size, taken in (("first", 24, None), ("again", 16, tmp_path / "first"), ("anew", 16, None)):
        (tmp_path / name).mkdir()
        spec = PruneHidden(size=size, select="pca", sentences=9)
        numbers[name] = made(spec, source, tmp_path / name, lines, silent, taken)
    assert torch.equal(answer(load_model(tmp_path / "again")), answer(load_model(tmp_path / "anew")))
    assert 0 < numbers["first"]["pca_error"] < numbers["anew"]["pca_error"] < 0.34
    with pytest.raises(NdogoError, match="there is none"):
        made(PruneHidden(size=16, select="pca"), source, tmp_path, None, silent)


@pytest.mark.parametrize("family", ["xlmr", "bert", "distilbert", "modernbert"])
def test_the_heads_regression_is_kept_only_where_it_comes_nearer(pico_model, monkeypatch, family):
    model = model_of(pico_model(family), "lm")
    batches = to_batches(TEXT, load_tokenizer(pico_model(family)), masked=True)
    scores = score(model, "pca", batches, silent)
    config = PruneHidden(size=16, heads="drop").plan(model.config, Planning(""))
    errors = []
    for fit in (refit._fit_head, lambda *_: None):
        monkeypatch.setattr(refit, "_fit_head", fit)
        student, _ = narrow_rotated(model, config, "drop", scores, batches)
        directions = basis(model, scores["moment"], 16).float()
        with torch.no_grad():
            text = refit._some(batches)
            states = [
                made.base_model(text.ids, text.real.long()).last_hidden_state[text.real] for made in (student, model)
            ]
            made, wanted = (refit._head_states(*pair) for pair in zip((student, model), states, strict=True))
        errors.append(float((made - wanted @ directions).square().mean()))
    assert errors[0] < errors[1]


@pytest.mark.parametrize("heads", ["shrink", "recut"])
@pytest.mark.parametrize("family", ["modernbert", "eurobert"])
def test_heads_with_rotary_positions_are_not_shrunk(pico_model, tmp_path, family, heads):
    with pytest.raises(NdogoError, match="rotary"):
        made(PruneHidden(size=24, heads=heads), pico_model(family), tmp_path, lines, silent)


def test_selections_are_sorted_and_head_by_head():
    scores = {"qk.0": torch.tensor([1.0, 3, 2, 9, 8, 7]), "v.0": torch.tensor([3.0, 2, 1, 1, 2, 3])}
    keep = heads_shrunk(scores, 1, 2, (3, 2))
    assert keep["qk.0"].tolist() == [1, 2, 3, 4] and keep["v.0"].tolist() == [0, 1, 4, 5]
    assert heads_shrunk(None, 1, 2, (3, 2))["v.0"].tolist() == [0, 1, 3, 4]
    dropped = heads_dropped({"head.0": torch.tensor([1.0, 5, 3])}, 1, 2, 3, 2)
    assert dropped["qk.0"].tolist() == dropped["v.0"].tolist() == [2, 3, 4, 5]
    assert heads_recut(1, 4)["qk.0"].tolist() == [0, 1, 2, 3]
    assert best(torch.tensor([2.0, 2, 2, 3]), 2).tolist() == [0, 3]


@pytest.mark.parametrize("select", [*SELECTIONS, "pca", "svd"])
def test_prune_hidden_writes_a_whole_directory(any_pico, tmp_path, select):
    spec = PruneHidden(size="3/4", select=select, heads="drop", sentences=9)
    numbers = made(spec, any_pico, tmp_path, lines, silent)
    student = load_model(tmp_path)
    assert shape_of(student.config).hidden == numbers["hidden"] == 24
    assert shape_of(student.config).heads == numbers["heads"] == 3 and numbers["heads_before"] == 4
    assert parameters(student) == numbers["params"] < numbers["params_before"]
    assert student.get_input_embeddings().weight.data_ptr() == student.get_output_embeddings().weight.data_ptr()
    assert (tmp_path / FILE).is_file() == (select not in ("first", "svd"))
    assert load_tokenizer(tmp_path)("Kitabu")["input_ids"] == load_tokenizer(any_pico)("Kitabu")["input_ids"]


def test_scores_serve_another_width(pico_model, tmp_path):
    source = pico_model("bert")
    for name, size, taken in (("first", 24, None), ("again", 16, tmp_path / "first"), ("anew", 16, None)):
        (tmp_path / name).mkdir()
        made(PruneHidden(size=size, sentences=9), source, tmp_path / name, lines, silent, taken)
    assert torch.equal(answer(load_model(tmp_path / "again")), answer(load_model(tmp_path / "anew")))


@pytest.mark.parametrize(
    ("size", "heads", "said"), [(30, "shrink", "28 or 32"), (20, "drop", "16 or 24"), (40, "drop", "40")]
)
def test_impossible_widths_are_refused(pico_model, tmp_path, size, heads, said):
    with pytest.raises(NdogoError, match=said):
        made(PruneHidden(size=size, heads=heads), pico_model("xlmr"), tmp_path, lines, silent)
