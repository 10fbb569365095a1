"""The model that keeps some rows: word embedding, decoder and its bias, and every id that the configuration names."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ndogo.core.architectures import architecture_of, has_lm_head, prefix_of
from ndogo.core.errors import NdogoError


def trim_model(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A model with the rows `kept` (old ids, ascending), in that order; the input is left untouched and shares nothing.

    Ties stay ties. Rows beyond the tokenizer's tokens (padding of the matrix) go unless kept.

    :raises NdogoError: an id has no row, or the padding id would move in a model that counts positions from it.
    """
    entry = architecture_of(model.config)
    words = _module(model.base_model, entry.words)
    if kept[-1] >= words.num_embeddings:
        raise NdogoError(
            f"The tokenizer has the id {kept[-1]:,}, but the model only {words.num_embeddings:,} rows.",
            where="config.json: vocab_size",
            cure="Use the tokenizer that belongs to the model.",
        )
    index = torch.tensor(kept)
    # Entries put in the memo beforehand stand in for the wide matrices, which are so never copied, and keep their ties.
    memo = {id(p): nn.Parameter(p.detach()[index], p.requires_grad) for p in wide_parameters(model).values()}
    trimmed = copy.deepcopy(model, memo)
    new_id = {old: new for new, old in enumerate(kept)}
    words = _module(trimmed.base_model, entry.words)
    words.num_embeddings = len(kept)
    if words.padding_idx is not None:
        words.padding_idx = new_id.get(words.padding_idx)
    _check_positions(trimmed, new_id)
    if has_lm_head(trimmed):
        _module(trimmed, entry.decoder).out_features = len(kept)
    for name, value in remapped_ids(trimmed.config.to_dict(), new_id).items():
        setattr(trimmed.config, name, value)
    trimmed.config.vocab_size = len(kept)
    return trimmed


def remapped_ids(values: dict[str, Any], new_id: dict[int, int]) -> dict[str, Any]:
    """Every `*_token_id` of a configuration in new ids; one that named no token becomes None."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name.endswith("_token_id") and isinstance(value, int):
            found[name] = new_id.get(value)
        elif name.endswith("_token_id") and isinstance(value, list):
            found[name] = [new_id[i] for i in value if i in new_id]
    return found


def words_of(model: PreTrainedModel) -> nn.Embedding:
    """The word embedding."""
    words: nn.Embedding = _module(model.base_model, architecture_of(model.config).words)
    return words


def wide_parameters(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """Every parameter with a row for each token, tied ones under each of their names: the word embedding's, the decoder's and
    the vocabulary's bias.
    """
    entry = architecture_of(model.config)
    wide = (
        f"{prefix_of(model)}{entry.words}.weight",
        f"{entry.decoder}.weight",
        f"{entry.decoder}.bias",
        entry.decoder_bias,
    )
    return {name: p for name, p in model.named_parameters(remove_duplicate=False) if name in wide}


def _check_positions(model: PreTrainedModel, new_id: dict[int, int]) -> None:
    # RoBERTa's positions start behind the padding id: were it to move, every position would take another row.
    positions = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    pad = getattr(positions, "padding_idx", None)
    if pad is not None and new_id.get(pad) != pad:
        raise NdogoError(
            f"The padding id would move from {pad} to {new_id.get(pad)}, and the model counts its positions from it.",
            where="config.json: pad_token_id",
        )


def _module(model: nn.Module, name: str) -> Any:
    return model.get_submodule(name)
