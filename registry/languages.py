"""Languages by name: those of languages.yaml and those that a user added to the store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Discriminator, Field, Tag, model_validator

from ndogo.core.documents import read_yaml
from ndogo.core.errors import NdogoError, unknown
from ndogo.core.frozen import Given
from ndogo.registry.bundles import home
from ndogo.registry.sources import PREFIX, DataSource
from ndogo.steps.recipe import validated

if TYPE_CHECKING:
    from ndogo.registry.hub import Hub

FILE = Path(__file__).with_name("languages.yaml")


class Language(Given):
    """One language, or a group of them with sampling weights."""

    name: str
    title: str = ""
    code: str = ""
    timezone: str = "UTC"
    """Of the nightly schedule."""
    nightly: bool = True
    """Whether its deployment has that schedule; one without runs when it is asked to."""
    members: dict[str, float] = Field(default_factory=dict)
    hub: dict[str, str] = Field(default_factory=dict)
    corpus: str = ""
    teacher: str = ""
    benchmarks: Annotated[
        Annotated[str, Tag("[folder]")] | Annotated[dict[str, DataSource], Tag("[sources]")],
        Discriminator(lambda given: "[folder]" if isinstance(given, str) else "[sources]"),
    ] = ""
    """Of an added language: text (a path or hf:ID:...), teacher (a directory or a hub id), and a folder of benchmark folders
    or a data set for each benchmark. A file of the user's that names one of our languages adds to what it has."""

    @model_validator(mode="after")
    def _zone(self) -> "Language":
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"got {self.timezone!r}, no time zone; write it as Africa/Nairobi") from error
        return self

    @property
    def added(self) -> bool:
        """Whether a user added it, so that its own paths are its default profile."""
        return bool(self.corpus)


def languages() -> dict[str, Language]:
    """All languages by name."""
    table: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    files = {file.stem: file for file in sorted((home() / "languages").glob("*.yaml"))}
    for name, file in files.items():
        table[name] = {**table.get(name, {}), **_read_yaml(file)}
    return {n: validated(Language, {"name": n, **entry}, str(files.get(n, FILE))) for n, entry in table.items()}


def _read_yaml(file: Path) -> dict[str, Any]:
    found = read_yaml(file) or {}
    if not isinstance(found, dict):
        raise NdogoError("This holds no `key: value` lines.", where=str(file))
    return found


def language(name: str) -> Language:
    """A language by name.

    :raises NdogoError: unknown; the nearest names are suggested.
    """
    known = languages()
    if name in known:
        return known[name]
    otherwise = f"Add yours with `ndogo languages add --name {name} --corpus FILE --teacher DIR`."
    raise unknown("language", name, known, where="language", otherwise=otherwise)


def described(name: str, corpus: str, teacher: str, benchmarks: Sequence[str], timezone: str) -> Language:
    """The entry that a command's words describe: paths made absolute, data sets of the hub as they are.

    :raises NdogoError: words that name no benchmark, or a .yaml file that is none.
    """
    fields = {
        "name": name,
        "title": name,
        "code": name,
        "timezone": timezone,
        "corpus": corpus if corpus.startswith(PREFIX) else _absolute(corpus),
        "teacher": _absolute(teacher) if Path(teacher).is_dir() and teacher else teacher,
        "benchmarks": _benchmarks(benchmarks),
    }
    return validated(Language, fields, "ndogo languages add")


def _benchmarks(given: Sequence[str]) -> str | dict[str, Any]:
    if len(given) == 1 and "=" not in given[0]:
        path = Path(given[0])
        if path.suffix in (".yaml", ".yml") and path.is_file():
            return _read_yaml(path)
        if path.is_dir():
            return _absolute(given[0])
        raise NdogoError(
            "There is no such folder.", where=f"--benchmarks {path}", cure="Or write NAME=hf:ID:CONFIGURATION."
        )
    pairs = [words.partition("=") for words in given]
    if bad := next((name for name, _, source in pairs if not source), None):
        raise NdogoError(f"`{bad}` names no data set.", where="--benchmarks", cure="Write NAME=hf:ID:CONFIGURATION.")
    return {
        name: source if source.startswith(PREFIX) else {"repository": _absolute(source)} for name, _, source in pairs
    }


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


@dataclass(frozen=True)
class Added:
    """What was found of a language that was added."""

    file: Path
    lines: int
    held_out: int
    """Lines that only judge."""
    characters: int
    rows: dict[str, dict[str, int]]
    """Rows of each benchmark's splits."""
    missing: dict[str, str]
    """Benchmarks that cannot be used, and why."""


def add_language(entry: Language) -> Added:
    """Make a language a citizen: all that it names is found, read and counted, then written below $NDOGO_HOME/languages.

    :raises NdogoError: a bad or taken name; a corpus, teacher or benchmark that cannot be used.
    """
    from ndogo.registry.corpora import corpus_of, default_profile, share_of
    from ndogo.registry.hub import Hub
    from ndogo.registry.teachers import weights

    if not re.fullmatch(r"[a-z][a-z0-9-]*", entry.name):
        raise NdogoError("A name has small letters, digits and dashes.", where=f"--name {entry.name}")
    if entry.name in yaml.safe_load(FILE.read_text(encoding="utf-8")):
        raise NdogoError(
            "Ndogo brings a language of that name.", where=f"--name {entry.name}", cure="Choose another name."
        )
    hub = Hub()
    lines = held_out = characters = 0
    for line in corpus_of(entry.corpus, hub)():
        judges = share_of(line) == "held_out"
        lines, held_out, characters = lines + 1, held_out + judges, characters + len(line)
    check_teacher(weights("", entry, default_profile(entry), hub))
    rows, missing = _count_rows(entry, hub)
    file = home() / "languages" / f"{entry.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(
        yaml.safe_dump(entry.model_dump(exclude={"name"}, exclude_defaults=True), allow_unicode=True), encoding="utf-8"
    )
    draft.rename(file)
    return Added(file, lines, held_out, characters, rows, missing)


def _count_rows(entry: Language, hub: "Hub") -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    """Rows of every benchmark's splits, and what is missing. One that was named by itself has to be there."""
    from ndogo.evaluation import KINDS, Broken
    from ndogo.registry.benchmarks import benchmarks_of
    from ndogo.registry.corpora import default_profile

    if not entry.benchmarks:
        return {}, dict.fromkeys(KINDS, "not given")
    rows, missing = {}, {}
    for found in benchmarks_of(entry, default_profile(entry), hub):
        if not isinstance(found, Broken):
            rows[found.name] = {split: len(given) for split, given in found.splits.items()}
        elif isinstance(entry.benchmarks, dict):
            raise NdogoError(found.problem, where=f"--benchmarks {found.name}")
        else:
            folder = Path(entry.benchmarks) / found.name
            missing[found.name] = found.problem if folder.exists() else f"no folder {folder}"
    return rows, missing


def check_teacher(folder: Path) -> None:
    """Refuse a teacher that cannot be used.

    :raises NdogoError: not a model directory, or no tokenizer that can be read.
    """
    from ndogo.core.directories import check_model_directory
    from ndogo.core.models import load_config, load_tokenizer

    check_model_directory(folder)
    load_config(folder)
    load_tokenizer(folder)
