"""What sentence vectors are judged on beside the benchmarks: translations into English, and whole articles. Never trained on.

In the local profile: `parallel/<name>/<code>.txt.gz` is what models are judged on; the rows of the benchmark `topic`, where
they are the same sentences row by row, are what choices are made on; rows of `topic_news` are articles. In the hub profile the
parallel text is that of sources.yaml.
"""

import logging
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.errors import NdogoError
from ndogo.core.text import lines_of
from ndogo.evaluation import Benchmark, Broken, read_local
from ndogo.evaluation.rows import Sentence
from ndogo.registry import sources
from ndogo.registry.benchmarks import benchmark_of
from ndogo.registry.corpora import Corpus, Profile, local_folder
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language, language

if TYPE_CHECKING:
    from ndogo.evaluation.vectors import Parallel, VectorTexts

LINES = 1000
"""Of training text for a map of vectors, and of held-out text where there are no translations."""
OTHER = "english"
NEWS = "topic_news"
OPENING = re.compile(r"(.{20,}?[.?!])\s+(.{40,})", re.DOTALL)
"""An article's first sentence, long enough to be one, and the rest."""
log = logging.getLogger("ndogo.vectors")


def vector_texts(text: Corpus, rows: Sequence[Benchmark | Broken], hub: Hub) -> "VectorTexts":
    """What sentence vectors are judged on: training text for a map, lines that nobody read, translations, topics and articles."""
    from ndogo.evaluation.vectors import VectorTexts

    pairs = parallel(text.language, text.profile, hub)
    lines = pairs.test[0] if pairs else tuple(islice(text.held_out(), LINES))
    topic = next((b for b in rows if isinstance(b, Benchmark) and b.name == "topic"), None)
    training = tuple(islice(text.lines(), LINES))
    return VectorTexts(training, lines, pairs, topic, articles(text.language, text.profile))


def parallel(name: str, profile: Profile, hub: Hub) -> "Parallel | None":
    """The parallel text of a language with English; None where there is none, or the language is a group or English itself.

    :raises NdogoError: two texts whose lines differ in number.
    """
    entry, other = language(name), language(OTHER)
    if profile == "pocket" or entry.added or entry.members or not entry.code or entry.code == other.code:
        return None
    test = _local(entry, other) if profile == "local" else _published(entry, other, hub)
    if test is None:
        return None
    if len(test[0]) != len(test[1]):
        raise NdogoError(
            f"{len(test[0])} lines cannot be translations of {len(test[1])}.",
            where=f"parallel text of {entry.name} and {other.name}",
            cure="Give as many lines, each the translation of the other file's.",
        )

    from ndogo.evaluation.vectors import Parallel  # it loads torch, which what ends above does without

    return Parallel(other.title, _dev(entry, other, profile, hub), test)


def articles(name: str, profile: Profile) -> tuple[tuple[str, str], ...]:
    """The articles of a language, each as its first sentence and the rest; none where there are none."""
    entry = language(name)
    if profile != "local" or entry.added or entry.members:
        return ()
    try:
        rows = read_local(local_folder(), NEWS, entry.code).splits["test"]
    except NdogoError:
        return ()
    found = (OPENING.match(row.text) for row in rows if isinstance(row, Sentence))
    return tuple((match[1], match[2]) for match in found if match)


Lines = tuple[str, ...]


def _local(entry: Language, other: Language) -> tuple[Lines, Lines] | None:
    for folder in sorted((local_folder() / "parallel").glob("*")):
        files = folder / f"{entry.code}.txt.gz", folder / f"{other.code}.txt.gz"
        if all(file.is_file() for file in files):
            return _lines(files[0]), _lines(files[1])
    return None


def _published(entry: Language, other: Language, hub: Hub) -> tuple[Lines, Lines] | None:
    """None where the hub's cannot be had either: a run is not lost for it."""
    if "parallel" not in entry.hub:
        return None
    try:
        ours, theirs = (
            tuple(sources.texts(sources.default("parallel", one.hub["parallel"]), hub, "test"))
            for one in (entry, other)
        )
    except NdogoError as error:
        log.warning("translations are not judged: %s", " ".join(str(error).split()))
        return None
    return ours, theirs


def _lines(file: Path) -> Lines:
    return tuple(lines_of(file)())


def _dev(entry: Language, other: Language, profile: Profile, hub: Hub) -> tuple[Lines, Lines]:
    """Rows of train and dev of `topic`, where both languages have as many with the same labels."""
    try:
        ours, theirs = (_rows(benchmark_of("topic", one, profile, hub)) for one in (entry, other))
    except NdogoError:
        return (), ()
    alike = [row.label for row in ours] == [row.label for row in theirs]
    return (tuple(row.text for row in ours), tuple(row.text for row in theirs)) if alike else ((), ())


def _rows(benchmark: Benchmark) -> list[Sentence]:
    rows = [row for split in ("train", "dev") for row in benchmark.splits[split]]
    return [row for row in rows if isinstance(row, Sentence)]
