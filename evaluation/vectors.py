"""Judging sentence vectors by what people use them for: the translation among many, the article that a sentence opens, the
nearest sentences, the nearest topic.

A model is judged against its teacher's vectors, as they are where both are of one width. Else a linear map into the
teacher's space is fitted on a thousand lines of training text. Shapes: N texts, T width of a vector.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ndogo.core.device import chosen
from ndogo.core.progress import Report, silent
from ndogo.evaluation.encoder import Encoder, batches, load_encoder, padded, position_limit
from ndogo.evaluation.records import BenchmarkScores, Spread
from ndogo.evaluation.rows import Benchmark, Sentence

VERSION = 2
"""Bumped by hand when the code changes a score."""
NEAREST = 10
DOCUMENT = ("document", "passage")
"""The uses under which a model's folder has the prompt of what is found."""
GAIN = 10**6
"""Gains are kept as whole numbers of so many parts."""
RIDGE = 1e-3
"""Of the fitted map, as a share of the mean square of the inputs."""
POPULAR = 0.01
MAX_LENGTH = 256
TOKENS_PER_BATCH = 4096


@dataclass(frozen=True)
class Parallel:
    """The same sentences, line by line, in the language and in another one."""

    other: str
    """The other language's name."""
    dev: tuple[tuple[str, ...], tuple[str, ...]]
    """What choices are made on: lines of the language, lines of the other. May be empty."""
    test: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class VectorTexts:
    """What vectors are judged on."""

    training: tuple[str, ...]
    """Lines of the training text, on which a map is fitted."""
    lines: tuple[str, ...]
    """Lines of the language among which neighbours are sought; in no training text."""
    parallel: Parallel | None = None
    topic: Benchmark | None = None
    articles: tuple[tuple[str, str], ...] = ()
    """Articles of the language, each as its first sentence and the rest; in no training text."""

    def __hash__(self) -> int:
        return hash(self.fingerprint())  # a benchmark's splits are a table, which has no hash of its own

    def fingerprint(self) -> str:
        """sha256 over all of it."""
        pairs = [self.parallel.other, self.parallel.dev, self.parallel.test] if self.parallel else None
        content = [VERSION, self.training, self.lines, pairs, self.topic.fingerprint() if self.topic else None]
        content += [self.articles] if self.articles else []
        return _digest(content)


@dataclass(frozen=True)
class Embedder:
    """Texts to vectors of length 1, as the model's folder says."""

    encoder: Encoder
    device: str = field(default_factory=chosen)

    @classmethod
    def of(cls, source: "Path | Embedder") -> "Embedder":
        """Of a model directory, or itself."""
        return source if isinstance(source, Embedder) else cls(load_encoder(source))

    def tokens(self, texts: Sequence[str], uses: Sequence[str] = ("query",)) -> list[list[int]]:
        """What the model reads of each text, its prompt for the first of these uses in front."""
        prompts, tokenizer = self.encoder.vectors.prompts, self.encoder.tokenizer
        prompt = next((prompts[use] for use in uses if use in prompts), "")
        limit = min(MAX_LENGTH, position_limit(self.encoder.model, tokenizer))
        ids: list[list[int]] = tokenizer([prompt + text for text in texts], truncation=True, max_length=limit)[
            "input_ids"
        ]
        return ids

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], report: Report = silent, uses: Sequence[str] = ("query",)) -> np.ndarray:
        """(N, T) fp32; the model's own prompt for the first of these uses stands in front, where it has one."""
        tokenizer = self.encoder.tokenizer
        torch.nn.Module.to(self.encoder.model, self.device)
        ids = self.tokens(texts, uses)
        found: np.ndarray | None = None
        done = 0
        for rows in batches([len(row) for row in ids], max(1, TOKENS_PER_BATCH // max(map(len, ids))), "sorted"):
            inputs = padded([ids[row] for row in rows], tokenizer.pad_token_id, self.device)
            real = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
            states = self.encoder.model(**inputs).last_hidden_state.float().to(self.device)
            made = torch.nn.functional.normalize(self.encoder.text_vectors(states, real), dim=-1).cpu().numpy()
            if found is None:
                found = np.zeros((len(ids), made.shape[1]), np.float32)
            found[rows] = made
            done += len(rows)
            report("vectors", done, len(ids))
        assert found is not None, "there are no texts"
        return found


@dataclass(frozen=True)
class Reference:
    """The teacher's vectors of the texts."""

    training: np.ndarray
    lines: np.ndarray
    dev: np.ndarray | None
    """Of the other language's lines."""
    test: np.ndarray | None


@lru_cache(maxsize=2)
def reference(teacher: Path, texts: VectorTexts) -> Reference:
    """The teacher's vectors, made once in a process."""
    embed, pairs = Embedder.of(teacher), texts.parallel
    return Reference(
        training=embed(texts.training),
        lines=embed(texts.lines),
        dev=embed(pairs.dev[1]) if pairs and pairs.dev[1] else None,
        test=embed(pairs.test[1]) if pairs else None,
    )


def judge_vectors(
    source: Path | Embedder, teacher: Path, texts: VectorTexts, report: Report = silent
) -> dict[str, BenchmarkScores]:
    """The scores of a model's vectors: `retrieval`, `articles`, `neighbours`, `nearest_topic`; those whose texts there are.

    :raises NdogoError: the folder's vectors cannot be made here.
    """
    embed, known = Embedder.of(source), reference(teacher, texts)
    found: dict[str, BenchmarkScores] = {}
    if texts.parallel is not None and known.test is not None:
        found["retrieval"] = _retrieval(embed, texts, texts.parallel, known, report)
    if texts.articles:
        found["articles"] = _articles(embed, texts.articles, report)
    lines = embed(texts.lines, report)
    found["neighbours"] = _neighbours(lines, known.lines, texts)
    if texts.topic is not None:
        found["nearest_topic"] = _nearest_topic(embed, texts.topic, report)
    return found


def _retrieval(
    embed: Embedder, texts: VectorTexts, pairs: Parallel, known: Reference, report: Report
) -> BenchmarkScores:
    """Of each line, whether its own translation is the nearest among all, in both directions."""
    assert known.test is not None
    test = embed(pairs.test[0], report)
    alike = test.shape[1] == known.test.shape[1]
    matrix = None if alike else _map(embed(texts.training, report), known.training)
    dev = None if known.dev is None else float(_hits(_mapped(embed(pairs.dev[0], report), matrix), known.dev).mean())
    ours = _mapped(test, matrix)
    hits = _hits(ours, known.test)
    there, back = hits.mean(0)
    return _scores(
        "retrieval_accuracy",
        [[int(row.sum()), 2] for row in hits],
        {"into_teacher": there, "back": back, "hubness": _hubness(ours @ known.test.T)},
        {"mapped": float(not alike)},
        dev,
        _digest([pairs.other, *pairs.test]),
    )


def _articles(embed: Embedder, articles: Sequence[tuple[str, str]], report: Report) -> BenchmarkScores:
    """How high the rest of its article stands for each first sentence, among the rests of all: nDCG of the first ten."""
    firsts, rests = (list(part) for part in zip(*articles, strict=True))
    similar = embed(firsts, report) @ embed(rests, report, DOCUMENT).T
    rank = (similar >= similar.diagonal()[:, None]).sum(1)  # 1 is the best; one that is as near stands before it
    gains = np.where(rank <= NEAREST, 1 / np.log2(rank + 1), 0.0)
    items = [[round(GAIN * float(gain)), GAIN] for gain in gains]
    first = {"first": float((rank == 1).mean())}
    return _scores("ndcg_at_10", items, first, {}, None, _digest([list(pair) for pair in articles]))


def _neighbours(ours: np.ndarray, theirs: np.ndarray, texts: VectorTexts) -> BenchmarkScores:
    """Of each line's ten nearest lines by the teacher, how many are among the model's ten; and how alike all rankings are."""
    nearest = min(NEAREST, len(ours) - 1)
    similar = [vectors @ vectors.T for vectors in (ours, theirs)]
    for table in similar:
        np.fill_diagonal(table, -np.inf)
    tops = [np.argpartition(-table, nearest, axis=1)[:, :nearest] for table in similar]
    found = [[len(set(a) & set(b)), nearest] for a, b in zip(*(top.tolist() for top in tops), strict=True)]
    off = ~np.eye(len(ours), dtype=bool)
    shape = len(ours), len(ours) - 1
    ranks = [np.argsort(np.argsort(table[off].reshape(shape), axis=1), axis=1).astype(float) for table in similar]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    alike = (centred[0] * centred[1]).sum(1) / np.maximum((centred[0] ** 2).sum(1), 1e-12)
    return _scores("neighbours_found", found, {"spearman": float(alike.mean())}, {}, None, _digest([texts.lines]))


def _nearest_topic(embed: Embedder, topic: Benchmark, report: Report) -> BenchmarkScores:
    """Whether the nearest train row has the test row's label; nothing is trained."""
    train, test = ([r for r in topic.splits[s] if isinstance(r, Sentence)] for s in ("train", "test"))
    similar = embed([row.text for row in test], report) @ embed([row.text for row in train], report).T
    right = [[int(train[at].label == row.label), 1] for at, row in zip(similar.argmax(1), test, strict=True)]
    return _scores("accuracy", right, {}, {}, None, topic.fingerprint())


def _hits(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(N, 2): whether the n-th of theirs is the nearest to the n-th of ours, and the other way round."""
    similar = ours @ theirs.T
    own = np.arange(len(ours))
    return np.stack([similar.argmax(1) == own, similar.argmax(0) == own], axis=1)


def _hubness(similar: np.ndarray) -> float:
    """Share of the lines whose nearest is one of the most popular hundredth of the targets; a hundredth where all is well."""
    counts = np.sort(np.bincount(similar.argmax(1), minlength=similar.shape[1]))[::-1]
    return float(counts[: max(1, round(POPULAR * len(counts)))].sum() / len(similar))


def _map(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(T + 1, T'): the linear map with an offset that brings our vectors nearest to theirs."""
    inputs = np.concatenate([ours, np.ones((len(ours), 1), np.float32)], axis=1).astype(np.float64)
    square = inputs.T @ inputs
    strength = RIDGE * np.trace(square) / len(square)
    return np.asarray(np.linalg.solve(square + strength * np.eye(len(square)), inputs.T @ theirs), np.float32)


def _mapped(ours: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    if matrix is None:
        return ours
    made = np.concatenate([ours, np.ones((len(ours), 1), np.float32)], axis=1) @ matrix
    return np.asarray(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12))


def _scores(
    metric: str,
    items: list[list[int]],
    others: dict[str, float],
    chosen: dict[str, float],
    dev: float | None,
    mark: str,
) -> BenchmarkScores:
    right, of = (sum(row[column] for row in items) for column in (0, 1))
    return BenchmarkScores.model_validate(
        {
            **dict(Spread.of([right / of])),
            "kind": "vectors",
            "metric": metric,
            "others": {name: dict(Spread.of([float(value)])) for name, value in others.items()},
            "chosen": chosen,
            "dev": [] if dev is None else [dev],
            "seeds": [0],
            "rows": {"test": len(items)},
            "fingerprint": mark,
            "notes": [],
            "remarks": [],
            "items": [items],
        }
    )


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
