"""An exported model: loaded once, then asked. Every text runs alone, so that an answer does not depend on its neighbours."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from ndogo_run.errors import RunError
from ndogo_run.words import first_tokens, joined, words_of

FOLDER, MANIFEST, TOKENIZER = "onnx", "export.json", "tokenizer.json"
MASK = "<mask>"
"""How a mask is written, whatever the model's own is called."""

STATES = "last_hidden_state"


@dataclass(frozen=True)
class Scored:
    """A label or a token, and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Span:
    """Some words of a text, where they stand (in characters), what they are, and with what probability."""

    start: int
    end: int
    text: str
    label: str
    score: float


def load(folder: str | Path, *, file: str = "", threads: int = 0) -> "Model":
    """Load an export: its folder, or the `onnx` folder in it.

    `file` names one of its files (default: the one that export.json names); `threads` of 0 are all cores.

    :raises RunError: there is no export, or it cannot be read.
    """
    path = Path(folder)
    path = path if (path / MANIFEST).is_file() else path / FOLDER
    if not (path / MANIFEST).is_file():
        cure = f"Make one with `ndogo export MODEL --out DIR`; a folder with {FOLDER}/{MANIFEST} is needed."
        raise RunError("There is no exported model here.", where=str(folder), cure=cure)
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        name = file or manifest["default"]
        if name not in manifest["files"]:
            raise RunError(
                f"There is no file `{name}`.", where=str(path), cure=f"Known: {', '.join(manifest['files'])}."
            )
        tokenizer = Tokenizer.from_file(str(path / TOKENIZER))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path / name), options, providers=["CPUExecutionProvider"])
    except RunError:
        raise
    except Exception as error:  # tokenizers and onnxruntime raise bare classes of their own
        raise RunError(
            f"The export cannot be read: {error}", where=str(path), cure="Export the model again."
        ) from error
    return Model(path, name, manifest, tokenizer, session)


@dataclass(frozen=True)
class Model:
    """A loaded export; `fill`, `classify` and `tag` need the head of that kind, `embed` and `search` any model."""

    folder: Path
    file: str
    facts: dict[str, Any]
    """What export.json says."""
    tokenizer: Tokenizer
    session: onnxruntime.InferenceSession

    def fill(self, text: str, top: int = 5) -> list[list[Scored]]:
        """The likeliest tokens of each `<mask>`, best first.

        :raises RunError: the model has no masked-LM head, or the text no mask that it reads.
        """
        self._needs("mlm", "fill masks")
        mask = self.facts["mask"]
        ids = self._ids(text.replace(MASK, mask["token"]))
        places = np.flatnonzero(ids == mask["id"])
        if not len(places):
            cure = f"Write {MASK} where a word is missing, in the first {self.facts['max_length']} tokens."
            raise RunError("The text has no mask.", where=text, cure=cure)
        chances_NV = _softmax(self._run(ids, self.facts["answer"])[places])
        return [[self._token(int(i), float(row[i])) for i in _best(row, top)] for row in chances_NV]

    def classify(self, text: str) -> list[Scored]:
        """Every label with its probability, best first.

        :raises RunError: the model has no sequence-classification head.
        """
        self._needs("classes", "classify texts")
        chances = _softmax(self._run(self._ids(text), self.facts["answer"]))
        return [Scored(self.facts["labels"][i], float(chances[i])) for i in _best(chances, len(chances))]

    def tag(self, text: str) -> list[Span]:
        """What words are: entities as whole spans, or every word where labels are not IOB2.

        A word's first token decides, as in training. Words beyond the model's length have no label.

        :raises RunError: the model has no token-classification head.
        """
        self._needs("tags", "tag words")
        places = words_of(text)
        words = [text[start:end] for start, end in places]
        encoded = self.tokenizer.encode(" ".join(words))
        ids = self._cut(encoded.ids)
        chances_LK = _softmax(self._run(ids, self.facts["answer"]))
        offsets = [
            (0, 0) if special else offset
            for special, offset in zip(encoded.special_tokens_mask, encoded.offsets, strict=True)
        ]
        firsts = [first if first < len(ids) - 1 else -1 for first in first_tokens(words, offsets)]
        best = [int(chances_LK[first].argmax()) if first >= 0 else -1 for first in firsts]
        labels = [self.facts["labels"][i] if i >= 0 else "O" for i in best]
        found = []
        for first, last, kind in joined(labels):
            start, end = places[first][0], places[last][1]
            score = min(float(chances_LK[firsts[n], best[n]]) for n in range(first, last + 1))
            found.append(Span(start, end, text[start:end], kind, score))
        return found

    def embed(self, texts: str | Sequence[str]) -> np.ndarray:
        """One vector of length 1 per text: (texts, size). A model without sentence vectors gives the mean of its states."""
        given = [texts] if isinstance(texts, str) else list(texts)
        if not given:
            return np.zeros((0, self.size), dtype=np.float32)
        return np.stack([self._vector(text) for text in given])

    def search(self, lines: str | Path | Sequence[str], query: str, top: int = 5) -> list[tuple[int, str, float]]:
        """The lines nearest to a query: number (from 0), line and cosine, best first.

        `lines` is a list, or a file whose index is kept beside it.

        :raises RunError: the file cannot be read.
        """
        from ndogo_run.index import index_of, lines_of

        from_file = isinstance(lines, str | Path)
        texts = lines_of(Path(lines)) if from_file else list(lines)  # type: ignore[arg-type]
        vectors = index_of(self, Path(lines), texts) if from_file else self.embed(texts)  # type: ignore[arg-type]
        near = vectors @ self.embed(query)[0]
        return [(int(i), texts[i], float(near[i])) for i in _best(near, top)]

    @cached_property
    def size(self) -> int:
        """Numbers in a vector."""
        return len(self._vector("a"))

    def _vector(self, text: str) -> np.ndarray:
        ids = self._ids(text)
        vector = (
            self._run(ids, self.facts["answer"]) if self.facts["head"] == "vectors" else self._run(ids, STATES).mean(0)
        )
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def _needs(self, head: str, what: str) -> None:
        if self.facts["head"] != head:
            raise RunError(
                f"This model cannot {what}: its head is `{self.facts['head']}`, not `{head}`.",
                where=str(self.folder),
                cure="Export a model that was trained for it.",
            )

    def _token(self, number: int, score: float) -> Scored:
        token = self.tokenizer.decode([number], skip_special_tokens=False)
        return Scored(token or self.tokenizer.id_to_token(number) or "", score)

    def _ids(self, text: str) -> np.ndarray:
        return self._cut(self.tokenizer.encode(text).ids)

    def _cut(self, ids: list[int]) -> np.ndarray:
        """At most as many tokens as the model reads; the last one stays, since it ends the text."""
        limit = self.facts["max_length"]
        return np.array(ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]], dtype=np.int64)

    def _run(self, ids: np.ndarray, output: str) -> np.ndarray:
        (found,) = self.session.run([output], {"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]})
        return np.asarray(found[0])


def _softmax(values: np.ndarray) -> np.ndarray:
    risen = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(risen / risen.sum(-1, keepdims=True))


def _best(values: np.ndarray, count: int) -> list[int]:
    """Positions of the largest values, largest first; equal ones in their order."""
    return [int(i) for i in np.argsort(-values, kind="stable")[: max(0, count)]]
