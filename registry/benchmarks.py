"""Benchmarks of a language, from the profile's own source. One that cannot be read is reported; the others still run."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from ndogo.core.errors import NdogoError, unknown
from ndogo.evaluation import KINDS, Benchmark, Broken, checked, collect, json_rows, read_local
from ndogo.registry import sources
from ndogo.registry.corpora import Profile, default_profile, local_folder
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language, language, languages
from ndogo.registry.sources import DataSource

NAMES = tuple(KINDS)
SPLITS = ("train", "dev", "test")


def benchmarks(
    name: str, profile: Profile, hub: Hub | None = None, asked: Callable[[str], bool] = lambda _: True
) -> list[Benchmark | Broken]:
    """The benchmarks of a language by its name; see `benchmarks_of`."""
    return benchmarks_of(language(name), profile, hub or Hub(), asked)


def benchmarks_of(
    entry: Language, profile: Profile, hub: Hub, asked: Callable[[str], bool] = lambda _: True
) -> list[Benchmark | Broken]:
    """The benchmarks of a language or of every member of a group (then named `<benchmark>_<member>`), if they are `asked` for.

    What comes from the hub is read at the commits of `hub`.
    :raises NdogoError: no benchmark at all could be read.
    """
    if entry.members:
        known = {member: language(member) for member in entry.members}
        readers = {f"{b}_{member}": _reader(b, e, profile, hub) for member, e in known.items() for b in _names(e)}
    else:
        readers = {b: _reader(b, entry, profile, hub) for b in _names(entry)}
    found = collect({given: partial(read, given) for given, read in readers.items() if asked(given)})
    if all(isinstance(b, Broken) for b in found):
        raise NdogoError(
            f"`{entry.name}` has no benchmark that can be read.",
            where=f"profile: {profile}",
            cure="; ".join(b.problem for b in found if isinstance(b, Broken)),
        )
    return found


def benchmark_of(kind: str, entry: Language, profile: Profile, hub: Hub) -> Benchmark:
    """One benchmark of a language.

    :raises NdogoError: the language has none of this name, or it cannot be read.
    """
    if kind not in _names(entry) or entry.members:
        raise NdogoError(
            f"`{entry.name}` has no benchmark `{kind}`.",
            where=f"profile: {profile}",
            cure=f"Known: {', '.join(() if entry.members else _names(entry)) or 'none, since it is a group'}.",
        )
    return _reader(kind, entry, profile, hub)(kind)


def labelled(kind: str, given: str, hub: Hub | None = None) -> Benchmark:
    """Labelled rows by what a person writes: a language, whose benchmark of this kind is read, a folder, or hf:ID:CONFIGURATION.

    :raises NdogoError: nothing there that can be read.
    """
    if given in languages():
        entry = language(given)
        return benchmark_of(kind, entry, default_profile(entry), hub or Hub())
    source = DataSource.model_validate(given if given.startswith(sources.PREFIX) else {"repository": given})
    if not given.startswith(sources.PREFIX) and not Path(given).expanduser().is_dir():
        raise unknown("language", given, list(languages()), where="--rows", otherwise="Or give a folder, or hf:ID.")
    return _rows(kind, source, hub or Hub())


def _names(entry: Language) -> tuple[str, ...]:
    """The benchmarks that a language is asked for: all of ours, and those that its own lines name."""
    own = entry.benchmarks if isinstance(entry.benchmarks, dict) else {}
    return tuple(own) if entry.added and own else (*NAMES, *(name for name in own if name not in NAMES))


def _reader(kind: str, entry: Language, profile: Profile, hub: Hub) -> Callable[[str], Benchmark]:
    def read(name: str) -> Benchmark:
        if profile == "pocket":
            return _pocket(name, entry.name, kind)
        if isinstance(entry.benchmarks, dict) and kind in entry.benchmarks:
            return _rows(name, entry.benchmarks[kind], hub)
        if entry.added:
            if not entry.benchmarks:
                raise NdogoError(f"`{entry.name}` was added without benchmarks.", where=f"{entry.name}.yaml")
            folder = Path(str(entry.benchmarks)) / kind
            if folder.is_dir() and not any(
                folder.glob("train.jsonl*")
            ):  # CoNLL, CSV and whatever else a data set may be
                return _rows(name, DataSource(repository=str(folder)), hub)
            return checked(name, {split: json_rows(_file(folder, split)) for split in SPLITS})
        if profile == "local":
            return replace(read_local(local_folder(), kind, entry.code), name=name)
        if kind not in entry.hub:
            raise NdogoError(f"`{entry.name}` has no {kind} on the hub.", where="registry/languages.yaml: hub")
        return _rows(name, sources.default(kind, entry.hub[kind]), hub)

    return read


def _rows(name: str, source: DataSource, hub: Hub) -> Benchmark:
    return checked(name, {split: sources.rows(source, split, hub) for split in SPLITS})


@cache  # generated rows never change within a process
def _pocket(name: str, language_name: str, kind: str) -> Benchmark:
    from ndogo import pocket
    from ndogo.registry.pocket_text import kept

    made = kept(f"{language_name}-{kind}.json", lambda: json.dumps(pocket.benchmark(language_name, kind)))
    rows = json.loads(made)
    return checked(name, {s: ((f"pocket {s}, row {n}", row) for n, row in enumerate(rows[s], 1)) for s in SPLITS})


def _file(folder: Path, split: str) -> Path:
    packed = folder / f"{split}.jsonl.gz"
    return packed if packed.is_file() else folder / f"{split}.jsonl"
