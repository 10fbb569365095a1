"""Benchmarks of a language, from the profile's own source. One that cannot be read is reported; the others still run."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.errors import NdogoError
from ndogo.evaluation import Benchmark, Broken, checked, collect, json_rows, read_local
from ndogo.registry.corpora import Profile, local_folder
from ndogo.registry.languages import Language, language

if TYPE_CHECKING:
    from datasets import Dataset

NAMES = ("sentiment", "topic", "ner", "pos")
SPLITS = ("train", "dev", "test")
HUB: dict[str, dict[str, str]] = {
    "topic": {"path": "Davlan/sib200", "text": "text", "label": "category"},
    "sentiment": {"path": "masakhane/afrisenti", "text": "tweet", "label": "label"},
    "ner": {"path": "masakhane/masakhaner2", "tokens": "tokens", "tags": "ner_tags"},
    "pos": {"path": "masakhane/masakhapos", "tokens": "tokens", "tags": "upos"},
}
"""The hub's data sets: only ones that load without scripts, from the Parquet conversion. Not tried here: no hub was in reach."""
PARQUET = "refs/convert/parquet"


def benchmarks(name: str, profile: Profile) -> list[Benchmark | Broken]:
    """The benchmarks of a language or of every member of a group (then named `<benchmark>_<member>`).

    :raises NdogoError: no benchmark at all could be read.
    """
    entry = language(name)
    if entry.members:
        readers = {f"{b}_{member}": _reader(b, language(member), profile) for member in entry.members for b in NAMES}
    else:
        readers = {b: _reader(b, entry, profile) for b in NAMES}
    found = collect({given: partial(read, given) for given, read in readers.items()})
    if all(isinstance(b, Broken) for b in found):
        raise NdogoError(
            f"`{name}` has no benchmark that can be read.",
            where=f"profile: {profile}",
            cure="; ".join(b.problem for b in found if isinstance(b, Broken)),
        )
    return found


def _reader(kind: str, entry: Language, profile: Profile) -> Callable[[str], Benchmark]:
    def read(name: str) -> Benchmark:
        if profile == "pocket":
            return _pocket(name, entry.name, kind)
        if profile == "hub":
            return checked(name, {split: _hub_rows(kind, entry, split) for split in SPLITS})
        if entry.added:
            if not entry.benchmarks:
                raise NdogoError(f"`{entry.name}` was added without benchmarks.", where=f"{entry.name}.yaml")
            return checked(name, {split: json_rows(_file(Path(entry.benchmarks) / kind, split)) for split in SPLITS})
        return read_local(local_folder(), kind, entry.code)

    return read


@cache  # generated rows never change within a process
def _pocket(name: str, language_name: str, kind: str) -> Benchmark:
    from ndogo import pocket

    rows = pocket.benchmark(language_name, kind)
    return checked(name, {s: ((f"pocket {s}, row {n}", row) for n, row in enumerate(rows[s], 1)) for s in SPLITS})


def _file(folder: Path, split: str) -> Path:
    packed = folder / f"{split}.jsonl.gz"
    return packed if packed.is_file() else folder / f"{split}.jsonl"


def _hub_rows(kind: str, entry: Language, split: str) -> Iterator[tuple[str, object]]:
    """Not tried here: no hub was in reach."""
    from datasets import load_dataset

    if kind not in entry.hub:
        raise NdogoError(f"`{entry.name}` has no {kind} on the hub.", where="registry/languages.yaml: hub")
    source = HUB[kind]
    rows = load_dataset(
        source["path"], entry.hub[kind], revision=PARQUET, split="validation" if split == "dev" else split
    )
    for number, row in enumerate(rows, 1):
        yield f"{source['path']} {split}, row {number}", _hub_row(rows, row, source)


def _hub_row(rows: "Dataset", row: Mapping[str, object], source: Mapping[str, str]) -> dict[str, object]:
    def word(column: str, value: object) -> object:
        feature = rows.features[column]
        names = getattr(getattr(feature, "feature", feature), "names", None)
        return names[value] if names and isinstance(value, int) else value

    if "text" in source:
        return {"text": row[source["text"]], "label": word(source["label"], row[source["label"]])}
    tags = row[source["tags"]]
    assert isinstance(tags, list)
    return {"tokens": row[source["tokens"]], "tags": [word(source["tags"], tag) for tag in tags]}
