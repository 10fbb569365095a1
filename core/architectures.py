"""Where each supported encoder keeps its parts: data, one entry per architecture.

Module paths are relative to the bare encoder (`model.base_model`), those in `head` to the whole model; `{i}` is a layer.
Adding an architecture is adding an entry: everything that cuts, maps or counts reads this table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.core.errors import NdogoError


@dataclass(frozen=True)
class Architecture:
    """The parts of one encoder family."""

    words: str
    """The word embedding."""
    embedding_parts: tuple[str, ...]
    """The other modules of the embedding block that have the hidden width."""
    layers: str
    """The ModuleList of layers."""
    attention: str
    """In a layer: the module whose output is attention's, before the output projection."""
    query: str
    """In a layer: the query projection, or the fused one when `fused_qkv`."""
    key: str
    value: str
    attention_output: str
    """In a layer: the projection back to the hidden width."""
    ffn_in: str
    """In a layer: the first FFN matrix, hidden -> FFN (or -> 2 x FFN, input half first, when `gated`)."""
    ffn_out: str
    norms: tuple[str, ...]
    """In a layer: every normalisation of the residual stream."""
    final_parts: tuple[str, ...] = ()
    """Encoder-level modules after the layers that have the hidden width."""
    pooler: str | None = None
    """The encoder's pooler, where the model has one."""
    head: tuple[str, ...] = ()
    """Modules of the heads, below the whole model, that keep the hidden width: of the masked-LM head and of task heads."""
    readouts: tuple[str, ...] = ()
    """Matrices of task heads, below the whole model, that read the hidden width and answer in labels."""
    decoder: str = ""
    """The masked-LM head's projection to the vocabulary, below the whole model."""
    lm_calls: tuple[str, ...] = ()
    """Modules, below the whole model, that one after the other turn hidden states into the vocabulary's logits."""
    decoder_bias: str = ""
    """The parameter that biases the vocabulary, below the whole model."""
    fused_qkv: bool = False
    gated: bool = False
    positions_after_padding: bool = False
    """Positions are counted from the padding id + 1, which makes that many rows of the table unused."""
    rotary: bool = False
    """Rotary positions: the head dimension sets their frequencies and must not change."""
    first_layer_fixed: bool = False
    """Layer 0 differs from the others (no attention norm) and must stay first."""
    names: dict[str, str] = field(default_factory=dict)
    """Configuration attribute of: layers, hidden, ffn, heads."""
    per_layer: tuple[str, ...] = ()
    """Configuration lists with one entry per layer."""


BERT_NAMES = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "ffn": "intermediate_size",
    "heads": "num_attention_heads",
}

_BERT: dict[str, Any] = {
    "words": "embeddings.word_embeddings",
    "embedding_parts": (
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
        "embeddings.LayerNorm",
    ),
    "layers": "encoder.layer",
    "attention": "attention.self",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
    "norms": ("attention.output.LayerNorm", "output.LayerNorm"),
    "pooler": "pooler.dense",
    "names": BERT_NAMES,
}
_ROBERTA = Architecture(
    **_BERT,
    head=("lm_head.dense", "lm_head.layer_norm", "classifier.dense"),
    readouts=("classifier", "classifier.out_proj", "qa_outputs"),
    decoder="lm_head.decoder",
    lm_calls=("lm_head",),
    decoder_bias="lm_head.bias",
    positions_after_padding=True,
)

ARCHITECTURES: dict[str, Architecture] = {
    "xlm-roberta": _ROBERTA,
    "roberta": _ROBERTA,
    "bert": Architecture(
        **_BERT,
        head=("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
        readouts=("classifier", "qa_outputs", "cls.seq_relationship"),
        decoder="cls.predictions.decoder",
        lm_calls=("cls.predictions",),
        decoder_bias="cls.predictions.bias",
    ),
    "distilbert": Architecture(
        words="embeddings.word_embeddings",
        embedding_parts=("embeddings.position_embeddings", "embeddings.LayerNorm"),
        layers="transformer.layer",
        attention="attention",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        ffn_in="ffn.lin1",
        ffn_out="ffn.lin2",
        norms=("sa_layer_norm", "output_layer_norm"),
        head=("vocab_transform", "vocab_layer_norm", "pre_classifier"),
        readouts=("classifier", "qa_outputs"),
        decoder="vocab_projector",
        lm_calls=("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
        decoder_bias="vocab_projector.bias",
        names={"layers": "n_layers", "hidden": "dim", "ffn": "hidden_dim", "heads": "n_heads"},
    ),
    "modernbert": Architecture(
        words="embeddings.tok_embeddings",
        embedding_parts=("embeddings.norm",),
        layers="layers",
        attention="attn",
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        attention_output="attn.Wo",
        ffn_in="mlp.Wi",
        ffn_out="mlp.Wo",
        norms=("attn_norm", "mlp_norm"),
        final_parts=("final_norm",),
        head=("head.dense", "head.norm"),
        readouts=("classifier",),
        decoder="decoder",
        lm_calls=("head", "decoder"),
        decoder_bias="decoder.bias",
        fused_qkv=True,
        gated=True,
        rotary=True,
        first_layer_fixed=True,
        names=BERT_NAMES,
        per_layer=("layer_types",),
    ),
}


@dataclass(frozen=True)
class Shape:
    """The five sizes of an encoder."""

    vocab: int
    layers: int
    hidden: int
    ffn: int
    heads: int


def architecture_of(config: PreTrainedConfig) -> Architecture:
    """The table's entry for a configuration.

    :raises NdogoError: the architecture is not in the table.
    """
    found = ARCHITECTURES.get(config.model_type)
    if found is None:
        raise NdogoError(
            f"Models of type `{config.model_type}` are not supported.",
            where="config.json: model_type",
            cure=f"Supported: {', '.join(ARCHITECTURES)}.",
        )
    return found


def shape_of(config: PreTrainedConfig) -> Shape:
    """The sizes that a configuration states."""
    names = architecture_of(config).names
    return Shape(vocab=config.vocab_size, **{part: getattr(config, name) for part, name in names.items()})


def positions(config: PreTrainedConfig) -> int:
    """The longest input, in pieces."""
    skipped = (config.pad_token_id or 0) + 1 if architecture_of(config).positions_after_padding else 0
    return config.max_position_embeddings - skipped


def with_shape(config: PreTrainedConfig, **sizes: Any) -> PreTrainedConfig:
    """A copy of the configuration with some of its five sizes changed; lists per layer are cut to the first layers.

    `sizes`: vocab, layers, hidden, ffn, heads. The input is left untouched.
    """
    entry = architecture_of(config)
    changed = config.to_dict()
    for part, size in sizes.items():
        changed["vocab_size" if part == "vocab" else entry.names[part]] = size
    if "layers" in sizes:
        for name in entry.per_layer:
            if changed.get(name):
                changed[name] = changed[name][: sizes["layers"]]
    return type(config).from_dict(changed)


def with_layers(config: PreTrainedConfig, kept: Sequence[int]) -> PreTrainedConfig:
    """A copy of the configuration for the layers `kept`, in that order; lists per layer follow. The input is untouched."""
    entry = architecture_of(config)
    changed = config.to_dict()
    changed[entry.names["layers"]] = len(kept)
    for name in entry.per_layer:
        if changed.get(name):
            changed[name] = [changed[name][layer] for layer in kept]
    return type(config).from_dict(changed)


def has_lm_head(model: PreTrainedModel) -> bool:
    """Whether the model carries the masked-LM head of its architecture."""
    return isinstance(find(model, architecture_of(model.config).decoder), nn.Linear)


def lm_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The masked-LM head's logits (..., V) of encoder states (..., H): of any choice of positions, so that a loss at a
    few of them never makes the logits of all.
    """
    for name in architecture_of(model.config).lm_calls:
        hidden = model.get_submodule(name)(hidden)
    return hidden


def find(model: nn.Module, name: str) -> nn.Module | None:
    """The submodule of that name, or None."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a model, bare or with a head."""
    found = model.base_model.get_submodule(architecture_of(model.config).layers)
    assert isinstance(found, nn.ModuleList)
    return found
