"""Benchmarks of a language, from the profile's own source. One that cannot be read is reported; the others still run."""

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from ndogo.core.errors import NdogoError
from ndogo.evaluation import KINDS, Benchmark, Broken, checked, collect, json_rows, read_local
from ndogo.registry import sources
from ndogo.registry.corpora import Profile, local_folder
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language, language
from ndogo.registry.sources import DataSource

NAMES = tuple(KINDS)
SPLITS = ("train", "dev", "test")


def benchmarks(name: str, profile: Profile, hub: Hub | None = None) -> list[Benchmark | Broken]:
    """The benchmarks of a language by its name; see `benchmarks_of`."""
    return benchmarks_of(language(name), profile, hub or Hub())


def benchmarks_of(entry: Language, profile: Profile, hub: Hub) -> list[Benchmark | Broken]:
    """The benchmarks of a language or of every member of a group (then named `<benchmark>_<member>`).

    What comes from the hub is read at the commits of `hub`.
    :raises NdogoError: no benchmark at all could be read.
    """
    if entry.members:
        known = {member: language(member) for member in entry.members}
        readers = {f"{b}_{member}": _reader(b, e, profile, hub) for member, e in known.items() for b in _names(e)}
    else:
        readers = {b: _reader(b, entry, profile, hub) for b in _names(entry)}
    found = collect({given: partial(read, given) for given, read in readers.items()})
    if all(isinstance(b, Broken) for b in found):
        raise NdogoError(
            f"`{entry.name}` has no benchmark that can be read.",
            where=f"profile: {profile}",
            cure="; ".join(b.problem for b in found if isinstance(b, Broken)),
        )
    return found


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
            return checked(name, {split: json_rows(_file(folder, split)) for split in SPLITS})
        if profile == "local":
            return read_local(local_folder(), kind, entry.code)
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
