"""Data sets as people have them: one line of YAML says where the rows are and what their columns mean."""

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Given
from ndogo.core.text import checked_text
from ndogo.registry.hub import MAIN, Hub
from ndogo.registry.tables import Table, is_table, suffix
from ndogo.registry.written import CONLL, CSV, numbered

PREFIX = "hf:"
"""How a data set of the hub is told from a path."""
FILE = Path(__file__).with_name("sources.yaml")
PARQUET = "refs/convert/parquet"
"""Where the hub keeps its own conversion of a data set, script or not."""
WORDS = {
    "train": ("train", "training"),
    "dev": ("validation", "dev", "valid", "val"),
    "test": ("test", "testing", "eval"),
}
"""How published files and folders call the splits."""
COLUMNS = {
    "text": ("text", "tweet", "sentence", "content"),
    "label": ("label", "category", "labels"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "upos", "pos_tags", "upos_tags"),
}
"""Names of columns that are understood without being told, the usual one first."""
OWN = "own"
SHARE = 10
"""Of an own dev split: one train row in so many, chosen by the row's hash."""


class DataSource(Given):
    """A data set of the hub, or of a folder, and how to read it. All but the first is found where it is left out."""

    repository: str
    """`owner/name` on the hub, or a folder."""
    revision: str = ""
    """Branch, tag or commit; default: main, and the hub's Parquet conversion where main holds no data files."""
    configuration: str = ""
    """The part of the data set, such as the language: a configuration of its card, or a folder."""
    files: str = ""
    """Instead of a configuration: a pattern of paths, in which `{split}` stands for the split's name."""
    text: str = ""
    label: str = ""
    tokens: str = ""
    tags: str = ""
    """Names of the columns."""
    labels: list[str] = Field(default_factory=list)
    """Names of the labels that the rows give as numbers, in order; default: those that the files name themselves."""
    splits: dict[str, str] = Field(default_factory=dict)
    """Names of splits: `{dev: validation}`. `{dev: own}` takes every tenth row of train."""

    @model_validator(mode="before")
    @classmethod
    def _in_short(cls, given: object) -> object:
        """`hf:ID` and `hf:ID:CONFIGURATION` are the whole line where the rest can be found."""
        if not isinstance(given, str):
            return given
        name, _, configuration = given.removeprefix(PREFIX).partition(":")
        if not given.startswith(PREFIX) or not name or ":" in configuration:
            raise ValueError("write hf:ID, hf:ID:CONFIGURATION or {repository: ID, ...}")
        return {"repository": name, "configuration": configuration}

    @model_validator(mode="after")
    def _known_splits(self) -> "DataSource":
        if wrong := set(self.splits) - set(WORDS):
            raise ValueError(f"there is no split {', '.join(sorted(wrong))}; splits are {', '.join(WORDS)}")
        return self

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.repository}{f', {self.configuration}' if self.configuration else ''}"


def default(kind: str, configuration: str) -> DataSource:
    """The hub profile's own data set for a corpus or a benchmark, at a language's configuration."""
    table = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return DataSource(**table[kind], configuration=configuration)


def parse(given: str) -> DataSource:
    """The source that `hf:ID`, `hf:ID:SPLIT` or `hf:ID:CONFIGURATION:SPLIT` names; the split is that of `train`.

    :raises NdogoError: not of this form.
    """
    name, *rest = given.removeprefix(PREFIX).split(":")
    if not given.startswith(PREFIX) or not name or len(rest) > 2:
        raise NdogoError("This names no data set.", where=given, cure="Write hf:ID, hf:ID:SPLIT or hf:ID:CONFIG:SPLIT.")
    splits = {"train": rest[-1]} if rest else {}
    return DataSource(repository=name, configuration=rest[0] if len(rest) == 2 else "", splits=splits)


def fetched(source: DataSource, split: str, hub: Hub) -> list[Path]:
    """The files of a split, on this machine, in the order of their names.

    :raises NdogoError: there are none, with what there is; or what the hub refuses.
    """
    if (folder := Path(source.repository).expanduser()).is_dir():
        names = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
        return [folder / name for name in _chosen(source, split, names, {}, str(folder))]
    for revision in [source.revision] if source.revision else [MAIN, PARQUET]:
        names = hub.files("dataset", source.repository, revision)
        card = hub.card("dataset", source.repository, revision) if revision != PARQUET else {}
        if not source.revision and revision == MAIN and not any(map(is_table, names)):
            scripts = [name for name in names if name.endswith(".py")]
            if not _has_conversion(source, hub):
                raise _no_data(source, scripts)
            continue
        chosen = _chosen(source, split, names, card, f"{source.repository} at {revision}")
        at = hub.fetch("dataset", source.repository, chosen, revision)
        return [at / name for name in chosen]
    raise AssertionError(source)


def rows(source: DataSource, split: str, hub: Hub) -> Iterator[tuple[str, dict[str, object]]]:
    """The rows of a split with their place: `{text, label}` or `{tokens, tags}`, labels as words.

    :raises NdogoError: what `fetched` refuses, a file that cannot be read, a column that is not there.
    """
    own = source.splits.get("dev") == OWN
    for file in fetched(source, "train" if own and split == "dev" else split, hub):
        for where, row, named in _placed(source, file):
            if own and split != "test" and _is_dev(row) != (split == "dev"):
                continue
            yield where, _meaning(source, row, file, named)


Names = Mapping[str, list[str]]
"""The names of labels that a file itself carries, by column."""


def _placed(source: DataSource, file: Path) -> Iterator[tuple[str, dict[str, Any], Names]]:
    """The rows of a file with their place: the line, where people write them."""
    kind = suffix(file.name)
    if kind in (*CSV, *CONLL):
        for number, row in numbered(file, kind):
            yield f"{source.name}: {file.name}, line {number}", row, {}
        return
    table = Table(file)
    for number, row in enumerate(table.rows(), 1):
        yield f"{source.name}: {file.name}, row {number}", row, table.label_names


def texts(source: DataSource, hub: Hub, split: str = "train") -> Iterator[str]:
    """The lines of text of a corpus: those of a split, stripped, empty ones left out.

    :raises NdogoError: as `rows`.
    """
    for file in fetched(source, split, hub):
        table = Table(file)
        for number, text in enumerate(table.values(_column(source, "text", table.columns, file)), 1):
            for line in checked_text(text, f"{source.name}: {file.name}, row {number}").splitlines():
                if line := line.strip():
                    yield line


def _chosen(source: DataSource, split: str, names: list[str], card: Mapping[str, Any], where: str) -> list[str]:
    """Which of a data set's files hold a split: as the line says, else as its card says, else by their names."""
    words = (source.splits[split],) if split in source.splits else WORDS[split]
    if source.files:
        patterns = [source.files.replace("{split}", word) for word in words]
    else:
        patterns = _in_card(card, source.configuration, words)
    data = [name for name in names if is_table(name) or suffix(name) in CONLL]
    if patterns:
        found = [name for name in data if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    else:
        found = _by_name(data, source, words, alone=split == "train")
    if not found:
        raise NdogoError(
            f"No file of {source.name} holds the {split} split.",
            where=where,
            cure=f"It holds: {', '.join(_folders_of(data)) or 'no data files'}. "
            "Say which with `configuration:`, `files:` or `splits:`.",
        )
    return sorted(found)


def _in_card(card: Mapping[str, Any], configuration: str, words: Iterable[str]) -> list[str]:
    """The patterns of a split in the card's `configs`; a list of files without splits is all train."""
    configs = [c for c in card.get("configs", []) if isinstance(c, dict) and "data_files" in c]
    wanted = configuration or "default"
    named = [c for c in configs if c.get("config_name") == wanted] or (configs if not configuration else [])
    if len(named) != 1:
        return []
    listed = named[0]["data_files"]
    if isinstance(listed, dict):
        listed = [{"split": split, "path": path} for split, path in listed.items()]
    found: list[str] = []
    for given in [listed] if isinstance(listed, str) else listed:
        split, paths = (given["split"], given["path"]) if isinstance(given, dict) else ("train", given)
        if split in words:
            found += [paths] if isinstance(paths, str) else paths
    return found


def _by_name(data: list[str], source: DataSource, words: Iterable[str], *, alone: bool) -> list[str]:
    """The files of a configuration (in a folder of its name, or beginning with it) whose path names the split.

    `alone`: where no file there is named after a split, all of them are.
    """
    wanted = source.configuration
    below = [name for name in data if not wanted or wanted in name.split("/")[:-1]]
    if not below and wanted == "default":  # how the hub calls the only one
        below = data
    if not below:
        below = [name for name in data if re.match(rf"{re.escape(wanted)}\b", name.rpartition("/")[2])]
    every = {*source.splits.values(), *(word for group in WORDS.values() for word in group)}
    if alone and not any(_parts(name) & every for name in below):
        return below
    return [name for name in below if _parts(name) & set(words)]


def _parts(name: str) -> set[str]:
    """The words that a path is made of."""
    return set(re.split(r"[/._-]", name.lower()))


def _folders_of(data: list[str]) -> list[str]:
    """Up to six places where data files lie, for a message."""
    folders = sorted({name.rpartition("/")[0] or name for name in data})
    return [*folders[:6], f"{len(folders) - 6} more"] if len(folders) > 6 else folders


def _has_conversion(source: DataSource, hub: Hub) -> bool:
    try:
        return any(map(is_table, hub.files("dataset", source.repository, PARQUET)))
    except NdogoError as fault:
        if "no revision" in fault.what:
            return False
        raise


def _no_data(source: DataSource, scripts: list[str]) -> NdogoError:
    what = f"{source.repository} holds no data files"
    if scripts:
        what = f"{source.repository} is a loading script ({scripts[0]}), which is never run, and the hub has no Parquet of it"
    return NdogoError(
        f"{what}.",
        where=f"repository: {source.repository}",
        cure="Name another data set, or a folder, in the language's `benchmarks:`; docs/hub.md shows the line.",
    )


def _is_dev(row: Mapping[str, object]) -> bool:
    digest = hashlib.blake2b(json.dumps(row, sort_keys=True, default=str).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % SHARE == 0


def _column(source: DataSource, meaning: str, there: Iterable[str], file: Path) -> str:
    """The name of the column that has a meaning: the one that the line names, else a usual one."""
    names = list(there)
    wanted = [given] if (given := getattr(source, meaning)) else [c for c in COLUMNS[meaning] if c in names]
    if not wanted or wanted[0] not in names:
        raise NdogoError(
            f"{source.name} has no column {f'`{wanted[0]}`' if wanted else f'for {meaning}'}.",
            where=str(file),
            cure=f"Its columns: {', '.join(names) or 'none'}. Name the right one with `{meaning}: COLUMN`.",
        )
    return wanted[0]


def _meaning(source: DataSource, row: Mapping[str, object], file: Path, named: Names) -> dict[str, object]:
    """A row as benchmarks have it; labels that are numbers become the words they stand for."""
    tagged = bool(source.tokens or source.tags) or (not source.text and any(c in row for c in COLUMNS["tokens"]))
    first, second = ("tokens", "tags") if tagged else ("text", "label")
    given, marked = (row[_column(source, meaning, row, file)] for meaning in (first, second))
    known = source.labels or named.get(_column(source, second, row, file), [])

    def word(value: object) -> object:
        if source.labels and isinstance(value, str) and value.isdigit():
            value = int(value)  # a number as CSV writes it
        if not isinstance(value, int):
            return value
        if not 0 <= value < len(known):
            raise NdogoError(
                f"{source.name} has the label {value}, which has no name.",
                where=str(file),
                cure="Name the labels in order: `labels: [negative, neutral, positive]`.",
            )
        return known[value]

    return {first: given, second: [word(tag) for tag in marked] if isinstance(marked, list) else word(marked)}
