"""The vocabulary that goes in: the loaded tokenizer, its tokenizer.json, and what each id is."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from ndogo.core.errors import NdogoError
from ndogo.core.models import load_tokenizer

FAMILIES = ("Unigram", "WordPiece", "BPE")


@dataclass(frozen=True)
class Vocabulary:
    """One tokenizer, read once. Nothing here is ever changed."""

    tokenizer: PreTrainedTokenizerBase
    document: dict[str, Any]
    """The content of tokenizer.json."""
    tokens: tuple[str, ...]
    """The token of each id."""
    specials: tuple[int, ...]
    """Special and added tokens, and every id that the configuration names: always kept, on top of the size."""
    ids: dict[str, int] = field(repr=False)

    @property
    def backend(self) -> Tokenizer:
        """The Rust tokenizer that does the work."""
        backend: Tokenizer = self.tokenizer.backend_tokenizer
        return backend

    @property
    def model(self) -> dict[str, Any]:
        """The model section of tokenizer.json."""
        section: dict[str, Any] = self.document["model"]
        return section

    @property
    def family(self) -> str:
        """Unigram, WordPiece or BPE."""
        return str(self.model["type"])

    @cached_property
    def byte_level(self) -> bool:
        """Whether tokens are spelt in the byte alphabet of GPT-2."""
        parts = (self.document.get("pre_tokenizer"), self.document.get("decoder"))
        return self.family == "BPE" and '"ByteLevel"' in json.dumps(parts)

    @cached_property
    def unknown(self) -> int | None:
        """The id of the unknown token, where there is one."""
        return _unknown(self.model, self.ids)


def read_vocabulary(path: Path, config: PreTrainedConfig) -> Vocabulary:
    """Load the tokenizer of a model directory as AutoTokenizer does, without truncation and padding.

    :raises NdogoError: no tokenizer, one without a Rust backend, of another family, or with gaps between its ids.
    """
    with _collector_off():
        tokenizer = load_tokenizer(path)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise NdogoError(
                f"The tokenizer ({type(tokenizer).__name__}) has no tokenizer.json form.",
                where=str(path),
                cure="Convert it with the `tokenizers` library first.",
            )
        file = path / "tokenizer.json"
        document = json.loads(file.read_text(encoding="utf-8") if file.is_file() else backend.to_str())
    backend.no_truncation()
    backend.no_padding()
    _check_model(document["model"], path)
    entries = document["model"]["vocab"]
    ids = {token: i for i, (token, _) in enumerate(entries)} if isinstance(entries, list) else dict(entries)
    ids |= {str(token): i for i, token in tokenizer.added_tokens_decoder.items()}
    tokens = [""] * (max(ids.values()) + 1)
    for token, i in ids.items():
        tokens[i] = token
    if len(ids) != len(tokens):
        raise NdogoError(
            f"The tokenizer has {len(ids):,} tokens, but ids up to {len(tokens) - 1:,}: some ids have no token.",
            where=str(path),
            cure="Load and save it with the `tokenizers` library, and fit the model's rows to it.",
        )
    specials = _specials(tokenizer, document, config, ids)
    return Vocabulary(tokenizer, document, tuple(tokens), tuple(sorted(specials)), ids)


def config_token_ids(values: dict[str, Any]) -> dict[str, list[int]]:
    """Every `*_token_id` of a configuration that is set, as lists of ids."""
    found = {}
    for name, value in values.items():
        if name.endswith("_token_id") and value is not None:
            found[name] = value if isinstance(value, list) else [value]
    return found


def processor_ids(part: Any) -> list[int]:
    """Every id in a post-processor section: templates carry `ids`, the BERT and RoBERTa kinds pairs of text and id."""
    if isinstance(part, list):
        if len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int):
            return [part[1]]
        return [i for item in part for i in processor_ids(item)]
    if isinstance(part, dict):
        own = [i for i in part.get("ids", []) if isinstance(i, int)]
        return own + [i for value in part.values() for i in processor_ids(value)]
    return []


def _check_model(model: dict[str, Any], path: Path) -> None:
    if model.get("type") not in FAMILIES:
        raise NdogoError(
            f"Tokenizers of type `{model.get('type')}` cannot be trimmed.",
            where=f"{path}: tokenizer.json: model.type",
            cure=f"Supported: {', '.join(FAMILIES)}.",
        )
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model["type"] == "BPE" and model.get(key):
            raise NdogoError(
                f"BPE with `{key}` cannot be trimmed exactly.", where=f"{path}: tokenizer.json: model.{key}"
            )


def _specials(
    tokenizer: PreTrainedTokenizerBase, document: dict[str, Any], config: PreTrainedConfig, ids: dict[str, int]
) -> set[int]:
    found = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    found |= set(processor_ids(document.get("post_processor")))
    found |= {i for values in config_token_ids(config.to_dict()).values() for i in values}
    if document.get("padding"):
        found.add(document["padding"]["pad_id"])
    if (unknown := _unknown(document["model"], ids)) is not None:
        found.add(unknown)
    return {i for i in found if i is not None and 0 <= i < len(ids)}


def _unknown(model: dict[str, Any], ids: dict[str, int]) -> int | None:
    return model.get("unk_id") if model["type"] == "Unigram" else ids.get(model.get("unk_token") or "")


@contextmanager
def _collector_off() -> Iterator[None]:
    # Reading 250,000 tokens makes as many small lists; the cyclic collector walks them again and again: half the time.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
