"""The same sentences in a language and in English: what translations are sought among. Never read by a training.

In the local profile: `parallel/<name>/<code>.txt.gz` is what models are judged on; the rows of the benchmark `topic`,
where they are the same sentences row by row, are what choices are made on.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.errors import NdogoError
from ndogo.core.text import lines_of
from ndogo.evaluation import Benchmark, read_local
from ndogo.evaluation.rows import Sentence
from ndogo.registry.corpora import Profile, local_folder
from ndogo.registry.languages import language

if TYPE_CHECKING:
    from ndogo.evaluation.vectors import Parallel

OTHER, CODE = "English", "eng"


def parallel(name: str, profile: Profile) -> "Parallel | None":
    """The parallel text of a language with English; None where there is none, or the language is a group or English itself.

    :raises NdogoError: two files whose lines differ in number.
    """
    from ndogo.evaluation.vectors import Parallel

    entry = language(name)
    if profile != "local" or entry.added or entry.members or not entry.code or entry.code == CODE:
        return None
    for folder in sorted((local_folder() / "parallel").glob("*")):
        files = folder / f"{entry.code}.txt.gz", folder / f"{CODE}.txt.gz"
        if all(file.is_file() for file in files):
            ours, theirs = (_lines(file) for file in files)
            if len(ours) != len(theirs):
                raise NdogoError(
                    f"{len(ours)} lines cannot be translations of {len(theirs)}.",
                    where=f"{files[0]} and {files[1]}",
                    cure="Give as many lines, each the translation of the other file's.",
                )
            return Parallel(OTHER, _dev(entry.code), (ours, theirs))
    return None


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(lines_of(file)())


def _dev(code: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Rows of train and dev of `topic`, where both languages have as many with the same labels."""
    try:
        found = [_rows(read_local(local_folder(), "topic", one)) for one in (code, CODE)]
    except NdogoError:
        return (), ()
    alike = [row.label for row in found[0]] == [row.label for row in found[1]]
    ours, theirs = (tuple(row.text for row in rows) for rows in found)
    return (ours, theirs) if alike else ((), ())


def _rows(benchmark: Benchmark) -> list[Sentence]:
    rows = [row for split in ("train", "dev") for row in benchmark.splits[split]]
    return [row for row in rows if isinstance(row, Sentence)]
