"""An encoder that the architecture table does not list, looked at: enough to take rows from its vocabulary, and layers.

The stock masked-LM class is built on the meta device, and what must be found there is one word embedding, one list of alike
layers, and whatever else is as long as the vocabulary.
"""

import json
from functools import lru_cache
from typing import Any

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

from ndogo.core.errors import NdogoError
from ndogo.core.models import empty_model
from ndogo.core.parts import Architecture

SIZES = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "ffn": "intermediate_size",
    "heads": "num_attention_heads",
}
LISTS = ("layer_types",)
"""Configuration lists with one entry per layer, under the names that transformers gives them."""


def found_by_looking(config: PreTrainedConfig) -> Architecture:
    """The parts of an encoder that is not in the table.

    :raises NdogoError: it is no encoder with a masked-LM class, or has not one word embedding and one list of layers.
    """
    kind: Any = type(config)
    return _looked(kind, config.to_json_string(use_diff=False))


@lru_cache(maxsize=32)  # a model that is not in the table is asked for at every step of a calibration
def _looked(kind: type[PreTrainedConfig], text: str) -> Architecture:
    config = kind.from_dict(json.loads(text))
    if kind not in MODEL_FOR_MASKED_LM_MAPPING or config.is_encoder_decoder:
        raise _refusal(config, "transformers has no masked-LM encoder of this type")
    names = {part: config.attribute_map.get(name, name) for part, name in SIZES.items()}
    lacking = [name for name in (*names.values(), "vocab_size", "max_position_embeddings") if not hasattr(config, name)]
    if lacking:
        raise _refusal(config, f"its configuration states no {', '.join(lacking)}")
    found: Any = MODEL_FOR_MASKED_LM_MAPPING[kind]
    model = empty_model(config, found)
    layers, first_differs = _layers(model, config.num_hidden_layers)
    words, decoder, bias = _vocabulary(model)
    return Architecture(
        words=words,
        decoder=decoder,
        decoder_bias=bias,
        layers=layers,
        names=names,
        first_layer_fixed=first_differs,
        positions_after_padding=_positions_after_padding(model),
        per_layer=tuple(name for name in LISTS if isinstance(getattr(config, name, None), list)),
        listed=False,
    )


def _vocabulary(model: PreTrainedModel) -> tuple[str, str, str]:
    """Names of the word embedding, the decoder and the vocabulary's bias; empty where the head has none."""
    words = model.get_input_embeddings()
    if not isinstance(words, nn.Embedding):
        raise _refusal(model.config, "it has no table of word embeddings")
    inner = {module: name for name, module in model.base_model.named_modules()}
    names = {module: name for name, module in model.named_modules()}
    out = model.get_output_embeddings()
    decoder = names[out] if isinstance(out, nn.Linear) and out.out_features == words.num_embeddings else ""
    rows = [n for n, p in model.named_parameters(remove_duplicate=False) if p.shape[0] == words.num_embeddings]
    biases = [n for n in rows if model.get_parameter(n).dim() == 1]
    own = [n for n in biases if n != f"{decoder}.bias"] or biases
    others = set(rows) - {f"{names[words]}.weight", f"{decoder}.weight", f"{decoder}.bias", *own[:1]}
    if words not in inner or others:
        raise _refusal(model.config, f"not one table alone is as long as its vocabulary ({', '.join(sorted(others))})")
    return inner[words], decoder, "".join(own[:1])


def _layers(model: PreTrainedModel, count: int) -> tuple[str, bool]:
    """The name of the one list of layers, and whether its first differs from the others."""
    lists = {name: module for name, module in model.base_model.named_modules() if isinstance(module, nn.ModuleList)}
    found = [name for name, module in lists.items() if len(module) == count]
    found = [name for name in found if not any(name.startswith(f"{outer}.") for outer in found)]
    if len(found) != 1:
        raise _refusal(model.config, f"it has {len(found)} lists of {count} layers")
    shapes = [{n: p.shape for n, p in layer.named_parameters()} for layer in lists[found[0]]]
    if any(shape != shapes[-1] for shape in shapes[1:]):
        raise _refusal(model.config, "its layers differ from each other")
    return found[0], shapes[0] != shapes[-1]


def _positions_after_padding(model: PreTrainedModel) -> bool:
    """Whether positions are counted from the padding id, as in RoBERTa: their table then has a padding row as well."""
    words = model.get_input_embeddings()
    tables = [m for m in model.base_model.modules() if isinstance(m, nn.Embedding) and m is not words]
    rows = model.config.max_position_embeddings
    return any(table.num_embeddings == rows and table.padding_idx is not None for table in tables)


def _refusal(config: PreTrainedConfig, why: str) -> NdogoError:
    return NdogoError(
        f"Models of type `{config.model_type}` are not supported: {why}.",
        where="config.json: model_type",
        cure="Take an encoder with one word embedding and one list of layers, or add an entry to core/architectures.py.",
    )
