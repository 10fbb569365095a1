"""The architecture table: shapes, exact counts, axes."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, EuroBertConfig, ModernBertConfig, XLMRobertaConfig

from ndogo.core.architectures import (
    architecture_of,
    has_lm_head,
    key_heads,
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
IDS = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "mask_token_id"), 1)
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


def test_layers_take_their_own_types_along():
    config = ModernBertConfig(num_hidden_layers=6, global_attn_every_n_layers=3)
    full, sliding = "full_attention", "sliding_attention"
    assert config.layer_types == [full, sliding, sliding, full, sliding, sliding]
    kept = with_layers(config, [0, 2, 3])
    assert kept.layer_types == [full, sliding, full] and kept.num_hidden_layers == 3
    assert config.num_hidden_layers == 6


def test_heads_that_share_keys_lose_ffn_neurons_and_layers_but_are_not_cut_themselves():
    config = EuroBertConfig(
        architectures=["EuroBertForMaskedLM"],
        vocab_size=100,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        num_hidden_layers=2,
        **IDS,
    )
    model = empty_model(config)
    assert key_heads(config) == 2 and widths(model)["qk.0"] == widths(model)["v.0"] == 32
    assert shape_of(with_shape(config, ffn=40, layers=1)).ffn == 40
    with pytest.raises(NdogoError, match="4 heads share 2 keys"):
        with_shape(config, hidden=24, heads=3)


def test_a_smaller_vocabulary_can_be_planned_where_the_padding_id_is_a_late_one():
    config = EuroBertConfig(architectures=["EuroBertForMaskedLM"])
    rows = config.vocab_size - 20_000
    assert config.pad_token_id > 20_000
    saved = parameters(empty_model(config)) - parameters(empty_model(with_shape(config, vocab=20_000)))
    assert saved == 2 * rows * config.hidden_size  # its two tables are not tied


def test_a_head_keeps_its_stated_size_where_whole_heads_go():
    config = EuroBertConfig(hidden_size=32, num_attention_heads=4, intermediate_size=64)
    made = with_shape(config, hidden=24, heads=3)
    assert (made.head_dim, made.num_key_value_heads) == (8, 3)


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
