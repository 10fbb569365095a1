"""Masked-language-model quality in units that a change of vocabulary cannot move: bits per byte, and whole words.

A word with the space before it is masked as a whole and its tokens are scored from left to right: when a token is scored, it and
the later ones are masked and the earlier ones are shown (PLL-word-l2r, Kauf & Ivanova 2023), so that a finer split leaks nothing.
Words and lines are drawn without looking at the tokenizer, so every model is asked the same.

Two things would still favour a vocabulary. The number of masks betrays how many tokens a word has: so each word is charged
-log2 p(n) for its number of tokens n, p being the tokenizer's own distribution on training text. And a softmax with fewer columns
is surer: so what the untrimmed model would gain by not guessing the dropped tokens is given back.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from ndogo.core import device
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer
from ndogo.core.progress import Report, silent
from ndogo.core.text import Lines
from ndogo.evaluation.encoder import batches, padded, position_limit
from ndogo.evaluation.judge import fixed
from ndogo.evaluation.overlap import refuse_overlap
from ndogo.evaluation.records import LanguageModelScores
from ndogo.evaluation.settings import LanguageModelSettings
from ndogo.evaluation.words import Word, draw_words, reservoir, spans

TOKENS_PER_BATCH = 8192
BITS_PER_BYTE_UNKNOWN = 8.0
"""An unknown token says nothing about its bytes: they are charged as if each were drawn at random."""


@dataclass(frozen=True)
class _Query:
    """One token to be guessed: the line with masks, the place, the answer."""

    word: int
    ids: list[int]
    position: int
    answer: int


def language_model_quality(
    model_dir: Path,
    held_out: Lines,
    training: Sequence[Lines],
    settings: LanguageModelSettings,
    report: Report = silent,
    dropped: float = 0.0,
) -> LanguageModelScores:
    """Bits per byte and whole-word accuracy of a masked language model on drawn words of held-out text.

    The drawn lines are first looked for in the `training` texts, on which the tokenizer's numbers of tokens per word are then
    counted. `dropped`: what `dropped_columns` says of the model's vocabulary, 0 where no token was taken away.

    :raises NdogoError: no masked-LM head, no usable line, or a drawn line that occurs in a training text.
    """
    words = draw_words(held_out(), settings)
    refuse_overlap(lambda: iter([word.line for word in words]), training)
    draw = random.Random(settings.seed)
    sample = reservoir((line for lines in training for line in lines()), settings.fitted, settings, draw)
    with fixed(settings.threads):
        model, tokenizer = _loaded(model_dir)
        return measured(model, tokenizer, words, code_lengths(tokenizer, sample), report, dropped)


def dropped_columns(
    untrimmed_dir: Path,
    retained: Sequence[int],
    held_out: Lines,
    settings: LanguageModelSettings,
    report: Report = silent,
) -> float:
    """Bits per byte that a model gains by merely not having columns for other tokens than the `retained`: the bits of its
    probability mass on these.

    :raises NdogoError: no masked-LM head, or no usable line.
    """
    words = draw_words(held_out(), settings)
    with fixed(settings.threads):
        model, tokenizer = _loaded(untrimmed_dir)
        queries = _queries(words, tokenizer)
        _, _, dropped = _scores(model, tokenizer, queries, report, np.asarray(retained, dtype=np.int64))
    return float(dropped.sum()) / sum(word.bytes for word in words)


def retained_columns(trimmed_dir: Path, untrimmed_dir: Path) -> list[int]:
    """The ids of the untrimmed model's tokens that the trimmed one still has; none where it was not trimmed from that model."""
    file = trimmed_dir / "old_to_new.json"
    if not file.is_file():
        return []
    ids = {int(old): int(new) for old, new in json.loads(file.read_text(encoding="utf-8"))["old_to_new"].items()}
    trimmed, untrimmed = load_tokenizer(trimmed_dir), load_tokenizer(untrimmed_dir)
    if max(ids) >= len(untrimmed):
        return []
    tokens = untrimmed.convert_ids_to_tokens(list(ids)), trimmed.convert_ids_to_tokens(list(ids.values()))
    return sorted(ids) if tokens[0] == tokens[1] else []


def code_lengths(tokenizer: PreTrainedTokenizerBase, lines: Sequence[str]) -> "CodeLengths":
    """The numbers of tokens of the words of these lines, counted; each line is tokenised once, however many words it has."""
    tokens = _tokenized(lines, tokenizer)
    return CodeLengths(
        Counter(
            len(_places(tokens, number, start, end, tokenizer.unk_token_id))
            for number, line in enumerate(lines)
            for start, end in spans(line)
        )
    )


@dataclass(frozen=True)
class CodeLengths:
    """How many words have how many tokens: a distribution over all numbers, smoothed by half a word at 2^-(n + 1)."""

    words: Counter[int]

    def bits(self, tokens: int) -> float:
        """The code length of a word's number of tokens, -log2 p(n); its bytes are not looked at."""
        share = (self.words[tokens] + 0.5 * 2.0 ** -(tokens + 1)) / (self.words.total() + 0.5)
        return -math.log2(share)


def _queries(words: Sequence[Word], tokenizer: PreTrainedTokenizerBase) -> list[_Query]:
    tokens = _tokenized([word.line for word in words], tokenizer)
    found = []
    for number, word in enumerate(words):
        ids = tokens["input_ids"][number]
        places = _places(tokens, number, word.start, word.end, tokenizer.unk_token_id)
        masked = list(ids)
        for place in places:
            masked[place] = tokenizer.mask_token_id
        for place in places:
            found.append(_Query(number, list(masked), place, ids[place]))
            masked[place] = ids[place]
    return found


def _tokenized(lines: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> BatchEncoding:
    tokens: BatchEncoding = tokenizer(list(lines), return_offsets_mapping=True, return_special_tokens_mask=True)
    return tokens


def _places(tokens: BatchEncoding, number: int, start: int, end: int, unknown: int | None) -> list[int]:
    """Which tokens of a line are a word's: those that end in it, and one of no width (a prefix space) is the first word's."""
    ids, special = tokens["input_ids"][number], tokens["special_tokens_mask"][number]
    return [
        i
        for i, (_, last) in enumerate(tokens["offset_mapping"][number])
        if not (special[i] and ids[i] != unknown) and start < max(last, 1) <= end
    ]


def _loaded(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, tokenizer = load_model(path), load_tokenizer(path)
    if tokenizer.mask_token_id is None or model.get_output_embeddings() is None:
        raise NdogoError(
            "The model has no masked-LM head or no mask token.",
            where=str(path),
            cure="Bits per byte need a model saved with its masked-LM head.",
        )
    torch.nn.Module.to(model, device.chosen())
    return model, tokenizer


def measured(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    words: Sequence[Word],
    code: CodeLengths,
    report: Report = silent,
    dropped: float = 0.0,
) -> LanguageModelScores:
    """The scores of a model in memory on drawn words.

    :raises NdogoError: a line is longer than the model reads.
    """
    queries = _queries(words, tokenizer)
    bits, right, _ = _scores(model, tokenizer, queries, report, None)
    total = sum(word.bytes for word in words)
    unknown = {query.word for query in queries if query.answer == tokenizer.unk_token_id}
    wrong = {query.word for query, good in zip(queries, right, strict=True) if not good} | unknown
    tokens = Counter(query.word for query in queries)
    counted = [code.bits(tokens[number]) for number in range(len(words))]
    charged = [
        counted[n] + (word.bytes * BITS_PER_BYTE_UNKNOWN if n in unknown else 0.0) for n, word in enumerate(words)
    ]
    for query, its in zip(queries, bits, strict=True):
        charged[query.word] += float(its)
    charged = [its + dropped * word.bytes for its, word in zip(charged, words, strict=True)]
    guessed = [n in tokens and n not in wrong for n in range(len(words))]
    return LanguageModelScores(
        bits_per_byte=sum(charged) / total,
        token_counts_bits_per_byte=sum(counted) / total,
        dropped_columns_bits_per_byte=dropped,
        word_accuracy=sum(guessed) / len(words),
        words=len(words),
        bytes=total,
        tokens=len(queries),
        tokens_per_word=len(queries) / len(words),
        words_with_unknown_tokens=len(unknown) / len(words),
        lines=tuple(_by_line(words, charged, guessed)),
    )


def _by_line(
    words: Sequence[Word], bits: Sequence[float], guessed: Sequence[bool]
) -> list[tuple[float, int, int, int]]:
    """Bits, bytes, words guessed and words of each line; the words of a line follow one another."""
    found = []
    for _, numbers in groupby(range(len(words)), key=lambda n: words[n].line):
        of = list(numbers)
        found.append((sum(bits[n] for n in of), sum(words[n].bytes for n in of), sum(guessed[n] for n in of), len(of)))
    return found


@torch.inference_mode()
def _scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    queries: Sequence[_Query],
    report: Report,
    retained: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per query: bits of the answer, whether it is the best guess, and bits of the mass on `retained` columns."""
    bits, right, dropped = np.zeros(len(queries)), np.zeros(len(queries), dtype=bool), np.zeros(len(queries))
    lengths = [len(query.ids) for query in queries]
    longest, limit = max(lengths), position_limit(model, tokenizer)
    if longest > limit:
        raise NdogoError(f"A drawn line has {longest} tokens, the model takes {limit}.", cure="Lower `max_bytes`.")
    done = 0
    for chosen in batches(lengths, max(1, TOKENS_PER_BATCH // longest), "sorted"):
        asked = [queries[i] for i in chosen]
        inputs = padded([query.ids for query in asked], tokenizer.pad_token_id, str(model.device))
        logits_BV = _logits_at(model, inputs, torch.tensor([query.position for query in asked], device=model.device))
        log_BV = logits_BV.cpu().double().log_softmax(-1)
        answers = torch.tensor([query.answer for query in asked])
        bits[chosen] = -log_BV.gather(1, answers[:, None])[:, 0].numpy() / math.log(2)
        right[chosen] = (log_BV.argmax(-1) == answers).numpy()
        if retained is not None:
            dropped[chosen] = -log_BV[:, torch.from_numpy(retained)].logsumexp(-1).numpy() / math.log(2)
        done += len(chosen)
        report("bits per byte", done, len(queries))
    return bits, right, dropped


def _logits_at(model: PreTrainedModel, inputs: dict[str, torch.Tensor], positions_B: torch.Tensor) -> torch.Tensor:
    """(B, V): the head runs on the asked positions only, which for a large vocabulary is most of the work saved."""

    def narrow(_: torch.nn.Module, __: object, output: BaseModelOutput) -> BaseModelOutput:
        assert output.last_hidden_state is not None
        output.last_hidden_state = output.last_hidden_state[
            torch.arange(len(positions_B), device=positions_B.device), positions_B
        ][:, None]
        return output

    hook = model.base_model.register_forward_hook(narrow)
    try:
        logits_BLV: torch.Tensor = model(**inputs).logits
        return logits_BLV[:, 0]
    finally:
        hook.remove()
