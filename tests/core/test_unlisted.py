"""Encoders that the architecture table does not list: what looking at them tells, and what is refused."""

import pytest
from transformers import (
    AlbertConfig,
    BartConfig,
    CamembertConfig,
    CanineConfig,
    ElectraConfig,
    GPT2Config,
    MPNetConfig,
    PreTrainedConfig,
    XLMConfig,
    XLMRobertaXLConfig,
)

from ndogo.core.architectures import (
    architecture_of,
    check_listed,
    has_lm_head,
    layers_of,
    lm_logits,
    positions,
    shape_of,
    with_layers,
    with_shape,
)
from ndogo.core.axes import module_axes
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model
from tests import pico

TINY = {**pico.SIZES, "num_hidden_layers": 3, "vocab_size": 150, "max_position_embeddings": 66}


def test_deberta_is_seen_through(pico_model):
    found = architecture_of(load_config(pico_model("deberta")))
    assert (found.words, found.layers) == ("embeddings.word_embeddings", "encoder.layer")
    assert (found.decoder, found.decoder_bias) == ("cls.predictions.decoder", "cls.predictions.bias")
    assert not found.listed and not found.first_layer_fixed
    shared = architecture_of(load_config(pico_model("deberta_shared")))
    assert (shared.decoder, shared.decoder_bias) == ("", "lm_predictions.lm_head.bias")


@pytest.mark.parametrize(
    ("config", "read", "decoder"),
    [
        (CamembertConfig(**TINY, pad_token_id=1), 64, "lm_head.decoder"),
        (XLMRobertaXLConfig(**TINY, pad_token_id=1), 64, "lm_head.decoder"),
        (MPNetConfig(**TINY, pad_token_id=1), 64, "lm_head.decoder"),
        (ElectraConfig(**TINY, embedding_size=32), 66, "generator_lm_head"),
    ],
    ids=lambda value: value.model_type if isinstance(value, PreTrainedConfig) else "",
)
def test_relatives_of_what_we_know_are_seen_through(config, read, decoder):
    found = architecture_of(config)
    assert found.decoder == decoder and positions(config) == read
    assert shape_of(with_shape(config, vocab=90, layers=2)).layers == 2
    assert with_layers(config, [0, 2]).num_hidden_layers == 2 and config.num_hidden_layers == 3


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (GPT2Config(), "no masked-LM encoder"),
        (CanineConfig(), "no masked-LM encoder"),
        (BartConfig(), "no masked-LM encoder"),
        (XLMConfig(), "states no intermediate_size"),
        (AlbertConfig(**TINY | {"num_hidden_layers": 12}, embedding_size=16), "0 lists of 12 layers"),
    ],
    ids=lambda value: value.model_type if isinstance(value, PreTrainedConfig) else "",
)
def test_what_cannot_be_seen_through_is_refused_with_the_reason(config, why):
    with pytest.raises(NdogoError, match=why) as error:
        architecture_of(config)
    assert config.model_type in error.value.what and "core/architectures.py" in (error.value.cure or "")


def test_widths_and_training_need_an_entry(pico_model):
    config, model = load_config(pico_model("deberta")), load_model(pico_model("deberta"))
    assert has_lm_head(model) and len(layers_of(model)) == 2
    for refused in (
        lambda: with_shape(config, ffn=32),
        lambda: with_shape(config, hidden=24, heads=3),
        lambda: module_axes(model),
        lambda: lm_logits(model, model.get_input_embeddings().weight),
        lambda: check_listed(config, "train it"),
    ):
        with pytest.raises(NdogoError, match="`deberta-v2` is not known well enough to") as error:
            refused()
        assert "trim" in (error.value.cure or "")
    assert with_shape(config, ffn=64, hidden=32, heads=4).to_dict() == config.to_dict()
