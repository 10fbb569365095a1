"""Where each supported encoder keeps its parts: data, one entry per architecture.

Module paths are relative to the bare encoder (`model.base_model`), those of heads to the whole model. Adding an architecture
is adding an entry: everything that cuts, maps or counts reads this table. An encoder without an entry is looked at instead
(`unlisted`), and loses rows and layers as any other; its widths cannot be cut, nor can it be trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.core.errors import NdogoError
from ndogo.core.parts import Architecture, Norm
from ndogo.core.size import check_sizes
from ndogo.core.unlisted import found_by_looking

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
    "ffn_in": ("intermediate.dense",),
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
        ffn_in=("ffn.lin1",),
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
        ffn_in=("mlp.Wi",),
        ffn_out="mlp.Wo",
        norms=("attn_norm", "mlp_norm"),
        final_parts=("final_norm",),
        head=("head.dense", "head.norm"),
        readouts=("classifier",),
        decoder="decoder",
        lm_calls=("head", "decoder"),
        decoder_bias="decoder.bias",
        fused_qkv=True,
        fused_gate=True,
        rotary=True,
        first_layer_fixed=True,
        names=BERT_NAMES,
        per_layer=("layer_types",),
    ),
    "eurobert": Architecture(
        words="embed_tokens",
        embeddings="embed_tokens",
        layers="layers",
        attention="self_attn",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        attention_output="self_attn.o_proj",
        ffn_in=("mlp.up_proj", "mlp.gate_proj"),
        ffn_out="mlp.down_proj",
        norms=("input_layernorm", "post_attention_layernorm"),
        norm=Norm("EuroBertRMSNorm", centred=False, epsilon="variance_epsilon"),
        final_parts=("norm",),
        head=("dense",),
        readouts=("classifier",),
        decoder="lm_head",
        lm_calls=("lm_head",),
        decoder_bias="lm_head.bias",
        rotary=True,
        names=BERT_NAMES,
        key_heads="num_key_value_heads",
        head_size="head_dim",
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
    """The table's entry for a configuration, or what looking at an encoder without one tells.

    :raises NdogoError: no entry, and no encoder with one word embedding and one list of layers.
    """
    return ARCHITECTURES.get(config.model_type) or found_by_looking(config)


def check_listed(config: PreTrainedConfig, doing: str) -> None:
    """Refuse what only an entry makes possible; `doing` completes "is not known well enough to ...".

    :raises NdogoError: the architecture is not in the table.
    """
    if not architecture_of(config).listed:
        raise NdogoError(
            f"The architecture `{config.model_type}` is not known well enough to {doing}.",
            where="config.json: model_type",
            cure=f"`trim` and `truncate` work with it; for more take one of {', '.join(ARCHITECTURES)}, or add an entry to "
            "core/architectures.py.",
        )


def prefix_of(model: PreTrainedModel) -> str:
    """What the names of the encoder's parts begin with in the whole model: nothing where the model is the bare encoder."""
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def key_heads(config: PreTrainedConfig) -> int:
    """The number of key and value heads: fewer than the heads where groups of heads share theirs."""
    entry = architecture_of(config)
    return int(getattr(config, entry.key_heads or entry.names["heads"]))


def shape_of(config: PreTrainedConfig) -> Shape:
    """The sizes that a configuration states."""
    names = architecture_of(config).names
    return Shape(vocab=config.vocab_size, **{part: getattr(config, name) for part, name in names.items()})


def positions(config: PreTrainedConfig) -> int:
    """The longest input, in tokens."""
    skipped = (config.pad_token_id or 0) + 1 if architecture_of(config).positions_after_padding else 0
    return int(config.max_position_embeddings) - skipped


def with_shape(config: PreTrainedConfig, **sizes: Any) -> PreTrainedConfig:
    """A copy of the configuration with some of its five sizes changed; lists per layer are cut to the first layers, and
    token ids that a smaller vocabulary has not become its last one.

    `sizes`: vocab, layers, hidden, ffn, heads. The input is left untouched.

    :raises NdogoError: another width or number of heads of an architecture that is not in the table, or whose heads share
        keys and values.
    """
    check_sizes(sizes, where="the step's sizes")
    entry, found = architecture_of(config), shape_of(config)
    changed = config.to_dict()
    for part, size in sizes.items():
        if part not in ("vocab", "layers") and size != getattr(found, part):
            check_listed(config, "cut its widths")
        changed["vocab_size" if part == "vocab" else entry.names[part]] = size
    hidden, heads = sizes.get("hidden", found.hidden), sizes.get("heads", found.heads)
    if (hidden, heads) != (found.hidden, found.heads):
        check_ungrouped(config)
        changed |= {entry.key_heads: heads} if entry.key_heads else {}
        changed |= {entry.head_size: hidden // heads} if entry.head_size else {}
    if "layers" in sizes:
        for name in entry.per_layer:
            if changed.get(name):
                changed[name] = changed[name][: sizes["layers"]]
    last = changed["vocab_size"] - 1
    ids = {name: i for name, i in changed.items() if name.endswith("_token_id") and isinstance(i, int)}
    changed |= {name: min(i, last) for name, i in ids.items()}
    return type(config).from_dict(changed)


def check_ungrouped(config: PreTrainedConfig) -> None:
    """Refuse heads that share their keys and values.

    :raises NdogoError: they do.
    """
    shared, heads = key_heads(config), shape_of(config).heads
    if shared != heads:
        raise NdogoError(
            f"{heads} heads share {shared} keys and values, and heads that share cannot be cut or sorted.",
            where=f"config.json: {architecture_of(config).key_heads}",
            cure="Cut layers, the FFN or the vocabulary.",
        )


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

    :raises NdogoError: the architecture is not in the table.
    """
    check_listed(model.config, "compute its masked-LM loss")
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
