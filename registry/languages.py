"""Languages by name: those of languages.yaml and those that a user added to the store."""

import re
from pathlib import Path

import yaml
from pydantic import Field, model_validator

from ndogo.core.errors import NdogoError, unknown
from ndogo.core.frozen import Frozen
from ndogo.registry.bundles import home

FILE = Path(__file__).with_name("languages.yaml")


class Language(Frozen):
    """One language, or a group of them with sampling weights."""

    name: str
    title: str = ""
    code: str = ""
    timezone: str = "UTC"
    """Of the nightly schedule."""
    members: dict[str, float] = Field(default_factory=dict)
    hub: dict[str, str] = Field(default_factory=dict)
    corpus: str = ""
    teacher: str = ""
    benchmarks: str = ""
    """Paths of an added language: text, teacher directory, and a folder of benchmark folders."""

    @model_validator(mode="after")
    def _zone(self) -> "Language":
        from zoneinfo import ZoneInfo

        ZoneInfo(self.timezone)
        return self

    @property
    def added(self) -> bool:
        """Whether a user added it, so that its own paths are its default profile."""
        return bool(self.corpus)


def languages() -> dict[str, Language]:
    """All languages by name."""
    table: dict[str, dict[str, object]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for file in sorted((home() / "languages").glob("*.yaml")):
        table[file.stem] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {name: Language.model_validate({"name": name, **entry}) for name, entry in table.items()}


def language(name: str) -> Language:
    """A language by name.

    :raises NdogoError: unknown; the nearest names are suggested.
    """
    known = languages()
    if name in known:
        return known[name]
    otherwise = f"Add yours with `ndogo languages add --name {name} --corpus FILE --teacher DIR`."
    raise unknown("language", name, known, where="language", otherwise=otherwise)


def add_language(entry: Language) -> Path:
    """Make a language a citizen: checked, then written below $NDOGO_HOME/languages.

    :raises NdogoError: a bad or taken name, a corpus or teacher that cannot be used.
    """
    from ndogo.core.models import check_model_directory, load_tokenizer
    from ndogo.core.text import read_lines

    if not re.fullmatch(r"[a-z][a-z0-9-]*", entry.name):
        raise NdogoError("A name has small letters, digits and dashes.", where=f"--name {entry.name}")
    if entry.name in yaml.safe_load(FILE.read_text(encoding="utf-8")):
        raise NdogoError(
            "Ndogo brings a language of that name.", where=f"--name {entry.name}", cure="Choose another name."
        )
    for _ in read_lines(Path(entry.corpus)):
        pass
    check_model_directory(Path(entry.teacher))
    load_tokenizer(Path(entry.teacher))
    if entry.benchmarks and not Path(entry.benchmarks).is_dir():
        raise NdogoError("There is no such folder.", where=f"--benchmarks {entry.benchmarks}")
    file = home() / "languages" / f"{entry.name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(
        yaml.safe_dump(entry.model_dump(exclude={"name"}, exclude_defaults=True), allow_unicode=True), encoding="utf-8"
    )
    draft.rename(file)
    return file
