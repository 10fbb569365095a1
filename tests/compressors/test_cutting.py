"""Cutting: torch-pruning and the table agree, nothing of the old width is left, inputs are untouched."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ndogo.compressors.rebuild import check_rebuilt, rebuild
from ndogo.compressors.width.cutting import cut, trace
from ndogo.core import architectures
from ndogo.core.architectures import shape_of, with_shape
from ndogo.core.axes import parameter_axes, widths
from ndogo.core.errors import NdogoError
from tests.compressors.cases import KINDS, answer, depth_of, fingerprint, inputs_of, model_of, unchanged


def everything(model, hidden):
    """Channels and head dimensions from the middle, other ones on each side."""
    keep = {"hidden": torch.arange(hidden) + 5}
    heads = shape_of(model.config).heads
    size = shape_of(model.config).hidden // heads
    for layer in range(depth_of(model)):
        keep[f"qk.{layer}"] = torch.cat([torch.arange(hidden // heads) + 1 + head * size for head in range(heads)])
        keep[f"v.{layer}"] = torch.cat([torch.arange(hidden // heads) + head * size for head in range(heads)])
        keep[f"ffn.{layer}"] = torch.arange(40) + layer
    return keep


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_is_the_tables_slice(any_pico, kind):
    model = model_of(any_pico, kind)
    before, keep = fingerprint(model), everything(model, 24)
    student = cut(model, keep, with_shape(model.config, hidden=24, ffn=40))
    assert unchanged(model, before)
    assert widths(student) == {key: len(index) for key, index in keep.items()}
    for name, axes in parameter_axes(model).items():
        expected = model.get_parameter(name)
        for dimension, axis in enumerate(axes):
            if axis:
                parts = expected.chunk(len(axis), dimension)
                chosen = [part.index_select(dimension, keep[key]) for key, part in zip(axis, parts, strict=True)]
                expected = torch.cat(chosen, dimension)
        assert torch.equal(student.get_parameter(name), expected), name
    assert answer(student).isfinite().all()
    assert not any(24 < size == 32 or size in (64, 128, 96) for _, size in _sizes(student, model)), (
        "an old width is left"
    )


def _sizes(student, model):
    """Sizes of the dimensions that the table cuts."""
    for name, axes in parameter_axes(model).items():
        for axis, size in zip(axes, student.get_parameter(name).shape, strict=True):
            if axis:
                yield name, size


def test_tied_stays_tied_before_and_after_reload(any_pico, tmp_path):
    model = model_of(any_pico, "lm")
    student = cut(model, everything(model, 24), with_shape(model.config, hidden=24, ffn=40))
    student.save_pretrained(tmp_path)
    reloaded = type(model).from_pretrained(tmp_path)
    for made in (student, reloaded):
        assert made.get_input_embeddings().weight.data_ptr() == made.get_output_embeddings().weight.data_ptr()
    assert torch.equal(answer(student), answer(reloaded))


@pytest.mark.parametrize("family", ["xlmr", "bert", "distilbert", "modernbert", "eurobert"])
def test_an_untied_output_matrix_is_cut_too(pico_model, family):
    model = model_of(pico_model(family), "lm")
    model.config.tie_word_embeddings = False
    out = model.get_output_embeddings()
    out.weight = nn.Parameter(torch.randn_like(out.weight))
    keep = {key: index for key, index in everything(model, 24).items() if not key.startswith("ffn")}
    student = cut(model, keep, with_shape(model.config, hidden=24))
    assert torch.equal(student.get_output_embeddings().weight, out.weight[:, keep["hidden"]])
    assert student.get_input_embeddings().weight.data_ptr() != student.get_output_embeddings().weight.data_ptr()


def test_keeping_all_is_the_input_and_shares_no_memory(any_pico):
    model = model_of(any_pico, "lm")
    before = fingerprint(model)
    keep = {key: torch.arange(size) for key, size in widths(model).items()}
    student = cut(model, keep, model.config)
    assert torch.equal(answer(student), answer(model))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert unchanged(model, before)


def test_a_table_that_forgets_a_dependency_is_caught(pico_model, monkeypatch):
    model = model_of(pico_model("bert"), "lm")
    keep = {key: index for key, index in everything(model, 24).items() if key.startswith("ffn")}
    wrong = replace(
        architectures.ARCHITECTURES["bert"], ffn_out="attention.output.dense", attention_output="output.dense"
    )
    monkeypatch.setitem(architectures.ARCHITECTURES, "bert", wrong)
    with pytest.raises(NdogoError):
        cut(model, keep, with_shape(model.config, ffn=40))


def test_frozen_models_are_cut_and_stay_frozen(pico_model):
    model = model_of(pico_model("xlmr"), "lm").requires_grad_(False)
    cut(model, everything(model, 24), with_shape(model.config, hidden=24, ffn=40))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_one_cut_leaves_nothing_for_the_next(pico_model):
    """torch-pruning's pruners share a default between instances; ours share nothing."""
    for family in ("bert", "xlmr", "bert"):
        graph = trace(model_of(pico_model(family), "lm"))
        assert not graph.CUSTOMIZED_PRUNERS and len(graph.IGNORED_LAYERS_IN_TRACING) == 1


def test_a_stale_configuration_and_a_lost_tie_are_refused(pico_model):
    model = model_of(pico_model("bert"), "lm")
    with pytest.raises(NdogoError, match="do not fit"):
        rebuild(model, with_shape(model.config, hidden=24), model.state_dict())
    model.get_output_embeddings().weight = nn.Parameter(torch.zeros_like(model.get_input_embeddings().weight))
    with pytest.raises(NdogoError, match="no longer tied"):
        check_rebuilt(model)
    model.config.intermediate_size = 40
    with pytest.raises(NdogoError, match="differ from the configuration"):
        check_rebuilt(model)


def test_a_cut_model_answers_where_it_is_padded(any_pico):
    model = model_of(any_pico, "lm")
    student = cut(model, everything(model, 24), with_shape(model.config, hidden=24, ffn=40))
    inputs = inputs_of(student)
    alone = {name: tensor[:1, :5] for name, tensor in inputs.items()}
    with torch.no_grad():
        assert torch.allclose(student(**inputs)[0][0, :5], student(**alone)[0][0], atol=1e-5)
