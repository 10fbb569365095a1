"""Benchmarks: rows that were read, checked line by line, and frozen."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ndogo.core.documents import parse_json
from ndogo.core.errors import NdogoError
from ndogo.core.text import byte_lines
from ndogo.evaluation.schemes import as_iob2

Kind = Literal["classes", "entities", "tags", "vectors"]
"""classes: one label per text; entities: IOB2 tags; tags: one label per word; vectors: none, the texts' vectors are compared."""

SPLITS = ("train", "dev", "test")
KINDS: dict[str, Kind] = {"sentiment": "classes", "topic": "classes", "ner": "entities", "pos": "tags"}
UPOS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
"""The part-of-speech tags of Universal Dependencies 2."""


class Sentence(NamedTuple):
    """A text and its label."""

    text: str
    label: str


class Tagged(NamedTuple):
    """Words and one tag for each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


Row = Sentence | Tagged
Raw = Iterable[tuple[str, object]]
"""Rows as they come from a source: (where, such as "train.jsonl, line 7"; the row)."""


@dataclass(frozen=True)
class Benchmark:
    """One labelled downstream task of one language."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    splits: Mapping[str, tuple[Row, ...]]
    notes: tuple[str, ...] = ()
    """What was odd in the rows, and where; shown in the report."""

    def fingerprint(self, splits: Sequence[str] = SPLITS) -> str:
        """sha256 over name, kind, labels and rows."""
        content = [self.name, self.kind, self.labels, {split: self.splits[split] for split in splits}]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Broken:
    """A benchmark that could not be read, and why; it stands in its place so that the others still run."""

    name: str
    problem: str


def kind_of(name: str) -> Kind:
    """The kind of a benchmark by its name; variants carry a suffix (`ner_v1`).

    :raises NdogoError: unknown name.
    """
    kind = KINDS.get(name.split("_")[0])
    if kind is None:
        raise NdogoError(f"There is no benchmark `{name}`.", cure=f"Known: {', '.join(KINDS)}, also with a suffix.")
    return kind


def checked(name: str, splits: Mapping[str, Raw], labels: Iterable[str] | None = None) -> Benchmark:
    """The benchmark that raw rows make up, each of them checked.

    `labels` declares the label set (for entities: the types); without it train does, and part-of-speech tags may be any UPOS.

    :raises NdogoError: with file and line: a row of another form, tags and words of different number, a label that is not
        in the set, tags of no scheme or of two; or an empty split.
    """
    kind = kind_of(name)
    allowed = None if labels is None else set(labels)
    notes: list[str] = []
    read: dict[str, tuple[Row, ...]] = {}
    for split in SPLITS:
        rows = list(_rows(name, kind, splits.get(split, ())))
        if not rows:
            raise NdogoError(
                f"The {split} split of benchmark `{name}` is empty.",
                where=f"{name}/{split}",
                cure="Give rows for train, dev and test.",
            )
        if kind == "entities":
            rows = _iob2(name, rows, notes)
        if allowed is None:
            allowed = _labels_of(kind, rows)
        _refuse_unknown(kind, rows, allowed)
        read[split] = tuple(row for _, row in rows)
    assert allowed is not None
    return Benchmark(name, kind, _in_order(kind, allowed), read, tuple(notes))


def read_local(folder: Path, name: str, language: str) -> Benchmark:
    """`folder/tasks/<name>/<language>/{train,dev,test}.jsonl.gz` (or .jsonl), checked.

    :raises NdogoError: no such benchmark or language there (with what is), an unreadable file, a row that is wrong.
    """
    home = folder / "tasks" / name
    if not (home / language).is_dir():
        there = sorted(p.name for p in home.iterdir() if p.is_dir()) if home.is_dir() else []
        raise NdogoError(
            f"There is no benchmark `{name}` for `{language}`.",
            where=str(home / language),
            cure=f"There is one for: {', '.join(there) or 'no language'}.",
        )
    files = {split: home / language / f"{split}.jsonl.gz" for split in SPLITS}
    files = {split: f if f.is_file() else f.with_suffix("") for split, f in files.items()}
    for split, file in files.items():
        if not file.is_file():
            raise NdogoError(f"Benchmark `{name}` has no {split} split.", where=f"{file}.gz", cure="Give that file.")
    return checked(name, {split: json_rows(file) for split, file in files.items()})


def collect(readers: Mapping[str, Callable[[], Benchmark]]) -> list[Benchmark | Broken]:
    """Read every benchmark; one that is refused becomes `Broken` and the others are read all the same."""
    found: list[Benchmark | Broken] = []
    for name, read in readers.items():
        try:
            found.append(read())
        except NdogoError as error:
            found.append(Broken(name, str(error)))
    return found


def json_rows(file: Path) -> Iterator[tuple[str, object]]:
    """The rows of a .jsonl or .jsonl.gz file with their place.

    :raises NdogoError: with file and line: not UTF-8, not JSON, a damaged archive.
    """
    for number, line in byte_lines(file):
        where = f"{file}, line {number}"
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NdogoError(f"Line {number} is not UTF-8: {error.reason}.", where=where) from error
        if text.strip():
            yield where, parse_json(text, where=where)


def _rows(name: str, kind: Kind, raw: Raw) -> Iterator[tuple[str, Row]]:
    form = '{"text": "...", "label": "..."}' if kind == "classes" else '{"tokens": ["..."], "tags": ["..."]}'
    for where, row in raw:
        if not isinstance(row, dict):
            raise NdogoError(f"A row of `{name}` is not an object.", where=where, cure=f"Write {form}.")
        made = _sentence(row) if kind == "classes" else _tagged(row)
        if made is None:
            raise NdogoError(f"A row of `{name}` has another form.", where=where, cure=f"Write {form}.")
        if isinstance(made, Tagged) and len(made.tokens) != len(made.tags):
            raise NdogoError(
                f"{len(made.tokens)} tokens have {len(made.tags)} tags.", where=where, cure="Give one tag per token."
            )
        yield where, made


def _sentence(row: dict[str, object]) -> Sentence | None:
    text, label = row.get("text"), row.get("label")
    good = isinstance(text, str) and text.strip() and isinstance(label, str) and label
    return Sentence(str(text), str(label)) if good else None


def _tagged(row: dict[str, object]) -> Tagged | None:
    tokens, tags = row.get("tokens"), row.get("tags")
    if not (isinstance(tokens, list | tuple) and isinstance(tags, list | tuple) and tokens):
        return None
    good = all(isinstance(x, str) and x for x in (*tokens, *tags))
    return Tagged(tuple(tokens), tuple(tags)) if good else None


def _iob2(name: str, rows: list[tuple[str, Row]], notes: list[str]) -> list[tuple[str, Row]]:
    """Rows whose tags are IOB2, whatever scheme they were written in; what was changed is noted."""
    tagged = [(where, row) for where, row in rows if isinstance(row, Tagged)]
    made, told = as_iob2(name, [(where, row.tags) for where, row in tagged])
    notes.extend(told)
    return [(where, Tagged(row.tokens, tuple(tags))) for (where, row), tags in zip(tagged, made, strict=True)]


def _used(kind: Kind, row: Row) -> Iterable[str]:
    if isinstance(row, Sentence):
        return (row.label,)
    return (tag[2:] for tag in row.tags if tag != "O") if kind == "entities" else row.tags


def _labels_of(kind: Kind, rows: list[tuple[str, Row]]) -> set[str]:
    found = {label for _, row in rows for label in _used(kind, row)}
    return set(UPOS) if kind == "tags" and found <= set(UPOS) else found


def _refuse_unknown(kind: Kind, rows: list[tuple[str, Row]], allowed: set[str]) -> None:
    for where, row in rows:
        for label in _used(kind, row):
            if label not in allowed:
                raise NdogoError(
                    f"The label `{label}` is unknown.", where=where, cure=f"Known: {', '.join(sorted(allowed))}."
                )


def _in_order(kind: Kind, labels: set[str]) -> tuple[str, ...]:
    if kind != "entities":
        return tuple(sorted(labels))
    return ("O", *(f"{prefix}-{name}" for name in sorted(labels) for prefix in ("B", "I")))
