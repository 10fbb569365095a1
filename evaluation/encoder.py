"""Any encoder directory, ours or not, made ready for judging: bare weights, rows as tokens, batches without waste."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from transformers import (
    AutoModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ndogo.core.batches import by_length, pad
from ndogo.core.directories import check_model_directory
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model, load_tokenizer, model_class
from ndogo.core.sentences import Vectors, read_vectors
from ndogo.core.task_heads import answers_of, labels_of, with_task
from ndogo.core.vectors import pool, read_dense
from ndogo.evaluation.rows import Benchmark, Row, Sentence
from ndogo_run.words import first_tokens

POOLER = "pooler."
"""A pooler is absent from masked-LM checkpoints and present in bare ones; a head brings its own."""


@dataclass(frozen=True)
class Encoder:
    """A bare encoder and its tokenizer; never changed by judging it."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """The weights of its own task head, by their names in the whole model."""
    labels: tuple[str, ...] = ()
    """What that head answers in."""
    vectors: Vectors = field(default_factory=Vectors)
    """How one vector is made of a text's states: as the folder says, else their mean."""
    dense: torch.nn.Sequential = field(default_factory=torch.nn.Sequential)
    """The dense layers behind the pooling; most models have none."""

    def text_vectors(self, states_BLH: torch.Tensor, real_BL: torch.Tensor) -> torch.Tensor:
        """One vector per text, (B, T), of the last layer's states; not normalised."""
        vectors_BT: torch.Tensor = self.dense.to(states_BLH.device)(pool(states_BLH, real_BL, self.vectors.pooling))
        return vectors_BT


def load_encoder(path: Path) -> Encoder:
    """The bare encoder of a model directory in fp32, whatever head it was saved with.

    :raises NdogoError: not a model directory, no fast tokenizer, or an encoder weight that is missing, unexpected or of
        another shape (heads and poolers aside).
    """
    check_model_directory(path)
    load_config(path)
    spoken = logging.get_verbosity()
    logging.set_verbosity_error()  # transformers reports keys that are checked here
    try:
        model, info = AutoModel.from_pretrained(
            str(path), dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise NdogoError(f"The encoder cannot be loaded: {error}", where=str(path)) from error
    finally:
        logging.set_verbosity(spoken)
    own = tuple(f"{name}." for name, _ in model.named_children() if not name.startswith("pooler"))
    missing = [key for key in info["missing_keys"] if not key.startswith(POOLER)]
    prefix = f"{model.base_model_prefix}."
    unexpected = [key for key in info["unexpected_keys"] if key.removeprefix(prefix).startswith(own)]
    faults = sorted(map(str, [*missing, *unexpected, *info["mismatched_keys"]]))
    if faults:
        raise NdogoError(
            f"The weights do not fit the configuration: {', '.join(faults[:5])} ({len(faults)} in all).",
            where=str(path),
        )
    vectors = read_vectors(path)
    tokenizer = _fast(load_tokenizer(path), path)
    return Encoder(path.name, model.eval(), tokenizer, vectors=vectors, dense=read_dense(path, vectors))


def load_with_head(path: Path) -> Encoder:
    """The encoder of a model directory together with its own task head.

    :raises NdogoError: what `load_encoder` refuses; it has no such head, or labels without a name of their own.
    """
    model = load_model(path)
    if answers_of(model.config) is None:
        raise NdogoError(
            f"A {type(model).__name__} does not answer in labels.",
            where=str(path),
            cure="Fine-tune it first, or judge it by --mode probe or finetune.",
        )
    body = f"{model.base_model_prefix}."
    head = {
        name: value for name, value in model.state_dict().items() if not name.startswith(body) or f".{POOLER}" in name
    }
    tokenizer = _fast(load_tokenizer(path), path)
    body_model = cast(PreTrainedModel, model.base_model)
    return Encoder(path.name, body_model, tokenizer, head, labels_of(model.config))


def _fast(tokenizer: PreTrainedTokenizerBase, path: Path) -> PreTrainedTokenizerBase:
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise NdogoError(
            "The tokenizer has no fast form with a padding token.",
            where=str(path),
            cure="Save it with a tokenizer.json and a pad_token.",
        )
    return tokenizer


def with_head(encoder: Encoder, benchmark: Benchmark, rows: np.ndarray, seed: int) -> PreTrainedModel:
    """A new model: the encoder's weights under a head of the benchmark's labels: the encoder's own, else drawn from the seed.

    Its vocabulary is the given rows of the encoder's. Training is exactly that of the whole table as long as nothing decays
    the embedding: rows that never occur have no gradient. It saves most of the optimiser's work and memory.

    :raises NdogoError: the architecture has no such head in transformers.
    """
    config = with_task(encoder.model.config, "text" if benchmark.kind == "classes" else "token", benchmark.labels)
    config.vocab_size = len(rows)
    config.pad_token_id = int(np.searchsorted(rows, encoder.tokenizer.pad_token_id))
    torch.manual_seed(seed)
    made: Any = model_class(config)
    model: PreTrainedModel = made._from_config(config, dtype=torch.float32)
    body = model.base_model
    weights = {key: value for key, value in encoder.model.state_dict().items() if not key.startswith(POOLER)}
    words = encoder.model.get_input_embeddings()
    (name,) = (f"{n}.weight" for n, module in encoder.model.named_modules() if module is words)
    weights[name] = weights[name][torch.from_numpy(rows)]
    weights |= {key: value for key, value in body.state_dict().items() if key.startswith(POOLER)}
    body.load_state_dict(weights)
    if encoder.head:
        model.load_state_dict({**model.state_dict(), **encoder.head})
    return model


def used_rows(encoder: Encoder, ids: Iterable[Sequence[int]]) -> np.ndarray:
    """The vocabulary rows that occur in `ids`, sorted, with all rows up to the padding's (RoBERTa counts positions from it)."""
    padding = encoder.tokenizer.pad_token_id
    below = range(padding + 1) if padding < len(encoder.tokenizer) // 2 else (padding,)
    return np.array(sorted({*below}.union(*ids)), dtype=np.int64)


@dataclass(frozen=True)
class Encoded:
    """Rows as tokens: ids per row and, for token benchmarks, where each word's first token stands (-1: nowhere)."""

    ids: list[list[int]]
    firsts: list[list[int]]
    labels: list[list[int]]
    """The labels' numbers: one per text, or one per word."""


def encode(encoder: Encoder, benchmark: Benchmark, rows: Sequence[Row], max_length: int) -> Encoded:
    """Rows as the model reads them, cut at `max_length` tokens or where the model's positions end.

    The words of a token benchmark are joined by spaces; a word's first token is the first that overlaps its characters.
    """
    number = {label: i for i, label in enumerate(benchmark.labels)}
    texts = [row.text if isinstance(row, Sentence) else " ".join(row.tokens) for row in rows]
    limit = min(max_length, position_limit(encoder.model, encoder.tokenizer))
    tokens = encoder.tokenizer(texts, truncation=True, max_length=limit, return_offsets_mapping=True)
    firsts: list[list[int]] = []
    labels: list[list[int]] = []
    for row, offsets in zip(rows, tokens["offset_mapping"], strict=True):
        if isinstance(row, Sentence):
            firsts.append([])
            labels.append([number[row.label]])
        else:
            firsts.append(first_tokens(row.tokens, offsets))
            labels.append([number[tag] for tag in row.tags])
    return Encoded(tokens["input_ids"], firsts, labels)


def position_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest input: the tokenizer's limit and the position table, less the rows that RoBERTa's offset skips."""
    positions = getattr(model.config, "max_position_embeddings", None) or 10**6
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return min(tokenizer.model_max_length, positions - (0 if padding is None else padding + 1))


def batches(
    lengths: Sequence[int],
    size: int,
    order: Literal["shuffled", "sorted"],
    generator: np.random.Generator | None = None,
) -> Iterator[np.ndarray]:
    """Row numbers, batch by batch, rows of like length together.

    sorted: longest first, for judging. shuffled: rows are drawn at random, sorted within pools of 16 batches, and the
    batches are shuffled again, so that an epoch stays random and little is padded.
    """
    long = np.asarray(lengths)
    if order == "sorted":
        yield from by_length(np.arange(len(long)), -long, size)
        return
    assert generator is not None
    drawn = generator.permutation(len(long))
    made = []
    for part in np.split(drawn, range(16 * size, len(drawn), 16 * size)):
        made += by_length(part, long, size)
    for i in generator.permutation(len(made)):
        yield made[i]


def padded(ids: Sequence[Sequence[int]], padding: int, device: str = "cpu") -> dict[str, torch.Tensor]:
    """`input_ids` (B, L) and, where a row is shorter than the longest, its `attention_mask`."""
    ids_BL, real_BL = pad(ids, padding)
    inputs = {"input_ids": torch.from_numpy(ids_BL).to(device)}
    if not real_BL.all():
        inputs["attention_mask"] = torch.from_numpy(real_BL).long().to(device)
    return inputs
