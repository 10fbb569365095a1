"""The architecture table: shapes, exact counts, axes."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, GPT2Config, ModernBertConfig, XLMRobertaConfig

from ndogo.core.architectures import (
    ARCHITECTURES,
    architecture_of,
    has_lm_head,
    lm_logits,
    shape_of,
    with_layers,
    with_shape,
)
from ndogo.core.axes import module_axes, parameter_axes, widths
from ndogo.core.errors import NdogoError
from ndogo.core.models import empty_model, parameters
from tests.compressors.cases import KINDS, inputs_of, model_of

XLMR = XLMRobertaConfig(
    architectures=["XLMRobertaForMaskedLM"], vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1
)
MBERT = BertConfig(architectures=["BertForMaskedLM"], vocab_size=119_547)


@pytest.mark.parametrize(
    ("sizes", "xlmr", "mbert"),
    [
        ({}, 278_295_186, 177_974_523),
        ({"layers": 6}, 235_767_954, 135_447_291),
        ({"layers": 6, "ffn": 2048}, 226_324_626, 126_003_963),
        ({"layers": 6, "ffn": 2048, "hidden": 564, "vocab": 40_005}, 44_752_113, 44_751_549),
        ({"layers": 6, "ffn": 2048, "hidden": 456, "vocab": 40_005}, 34_961_373, 34_960_917),
        ({"layers": 6, "ffn": 2048, "hidden": 312, "vocab": 40_005}, 22_814_253, 22_813_941),
    ],
)
def test_the_papers_shapes_have_the_papers_counts(sizes, xlmr, mbert):
    assert parameters(empty_model(with_shape(XLMR, **sizes))) == xlmr
    assert parameters(empty_model(with_shape(MBERT, **sizes))) == mbert


@pytest.mark.parametrize(
    ("hidden", "xlmr", "mbert"), [(564, "163.40", "89.69"), (456, "130.93", "71.31"), (312, "88.54", "47.71")]
)
def test_the_papers_hidden_widths_have_the_papers_counts(hidden, xlmr, mbert):
    sizes = {"layers": 6, "ffn": 2048, "hidden": hidden}
    assert f"{parameters(empty_model(with_shape(XLMR, **sizes))) / 1e6:.2f}" == xlmr
    assert f"{parameters(empty_model(with_shape(MBERT, **sizes))) / 1e6:.2f}" == mbert


def test_every_dimension_of_every_family_and_head_is_known(any_pico):
    for kind in KINDS:
        model = model_of(any_pico, kind)
        shape = shape_of(model.config)
        found = parameter_axes(model)
        assert set(found) == {name for name, _ in model.named_parameters(remove_duplicate=False)}
        wanted = {"hidden": shape.hidden}
        for layer in range(shape.layers):
            wanted |= {f"qk.{layer}": shape.hidden, f"v.{layer}": shape.hidden, f"ffn.{layer}": shape.ffn}
        assert widths(model) == wanted


def test_dimensions_without_a_block_are_not_widths(any_pico):
    model = model_of(any_pico, "lm")
    rows, columns = parameter_axes(model)[f"{model.base_model_prefix}.{architecture_of(model.config).words}.weight"]
    assert rows == () and columns == ("hidden",)


def test_a_part_that_the_table_does_not_know_is_refused(pico_model):
    model = model_of(pico_model("bert"), "sequence")
    model.extra = nn.Linear(4, 4)
    with pytest.raises(NdogoError, match="does not know: extra"):
        module_axes(model)


def test_an_unknown_architecture_is_refused_with_what_is_supported():
    with pytest.raises(NdogoError, match="gpt2") as error:
        architecture_of(GPT2Config())
    assert all(name in str(error.value) for name in ARCHITECTURES)


def test_layers_take_their_own_types_along():
    config = ModernBertConfig(num_hidden_layers=6, global_attn_every_n_layers=3)
    full, sliding = "full_attention", "sliding_attention"
    assert config.layer_types == [full, sliding, sliding, full, sliding, sliding]
    kept = with_layers(config, [0, 2, 3])
    assert kept.layer_types == [full, sliding, full] and kept.num_hidden_layers == 3
    assert config.num_hidden_layers == 6


def test_the_heads_logits_are_the_models(any_pico):
    model = model_of(any_pico, "lm")
    inputs = inputs_of(model)
    with torch.no_grad():
        states = model.base_model(**inputs).last_hidden_state
        assert torch.allclose(lm_logits(model, states), model(**inputs).logits, atol=1e-6)
        assert torch.allclose(lm_logits(model, states[:, 3]), model(**inputs).logits[:, 3], atol=1e-5)


def test_only_a_masked_lm_has_its_head(any_pico):
    assert has_lm_head(model_of(any_pico, "lm"))
    assert not any(has_lm_head(model_of(any_pico, kind)) for kind in ("bare", "sequence", "token"))
