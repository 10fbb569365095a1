"""Reading rows: Parquet, CSV, TSV, JSONL and plain lines, packed by gzip or not."""

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ndogo.core.errors import NdogoError

KINDS = ("parquet", "csv", "tsv", "jsonl", "json", "txt")
NO_ROWS = ("dataset_infos.json", "requirements.txt", "license.txt", "readme.txt")


def columns(file: Path) -> list[str]:
    """The names of a file's columns."""
    if _suffix(file.name) == "parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_schema(file).names)
    return list(next(iter(read(file)), {}))


def read(file: Path, column: str = "") -> Iterator[Any]:
    """The rows of a Parquet, CSV, TSV or JSONL file as dictionaries; or one column's values.

    :raises NdogoError: not a file of that kind, with the row.
    """
    good = 0
    try:
        for row in _parquet(file, column) if _suffix(file.name) == "parquet" else _lines(file):
            yield row[column] if column else row
            good += 1
    except (ValueError, KeyError, OSError, EOFError, csv.Error) as fault:
        raise NdogoError(f"The file cannot be read: {fault}", where=f"{file}, after row {good}") from fault


def _parquet(file: Path, column: str) -> Iterator[Mapping[str, object]]:
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(file)
    for batch in table.iter_batches(columns=[column] if column else None, batch_size=4096):
        yield from batch.to_pylist()


def _lines(file: Path) -> Iterator[Mapping[str, object]]:
    opener = gzip.open if file.name.endswith(".gz") else open
    kind = _suffix(file.name)
    with opener(file, "rt", encoding="utf-8", newline="") as text:
        if kind == "txt":
            yield from ({"text": line} for line in text)
        elif kind in ("csv", "tsv"):
            yield from csv.DictReader(text, delimiter="\t" if kind == "tsv" else ",", strict=kind == "csv")
        else:
            yield from (json.loads(line) for line in text if line.strip())


def is_table(name: str) -> bool:
    """Whether a file's name says that it holds rows."""
    return _suffix(name) in KINDS and "/." not in f"/{name}" and name.lower() not in NO_ROWS


def _suffix(name: str) -> str:
    return name.removesuffix(".gz").rpartition(".")[2].lower()


def label_names(file: Path) -> dict[str, list[str]]:
    """The label names that a Parquet file's schema carries, by column."""
    if _suffix(file.name) != "parquet":
        return {}
    import pyarrow.parquet

    raw = (pyarrow.parquet.read_schema(file).metadata or {}).get(b"huggingface")
    features = json.loads(raw)["info"]["features"] if raw else {}
    return {column: names for column, feature in features.items() if (names := _label_names(feature))}


def _label_names(feature: object) -> list[str]:
    """The names in a feature, or in the one that its list is made of."""
    if isinstance(feature, list):
        feature = feature[0]
    if not isinstance(feature, dict):
        return []
    return list(feature["names"]) if "names" in feature else _label_names(feature.get("feature"))
