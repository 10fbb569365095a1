"""The raw text of a language, pinned by a fingerprint, with held-out lines that never occur in training text."""

import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from ndogo.core.errors import NdogoError
from ndogo.core.text import Lines, lines_of, part_of
from ndogo.registry import sources
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language, language

Profile = Literal["pocket", "local", "hub"]
Share = Literal["training", "validation", "held_out"]
PROFILES: tuple[Profile, ...] = ("pocket", "local", "hub")
HELD_OUT_SHARE = 100
"""One line in so many is held out, by its own hash: a repeated line falls on one side only. Half of them are for choosing."""


@dataclass(frozen=True)
class Corpus:
    """Text of one language or group. `lines` for training and counting; the others occur in no training text."""

    language: str
    profile: Profile
    lines: Lines
    validation: Lines
    """For what is chosen on the way: when a training stops, which shape a budget buys."""
    held_out: Lines
    """For judging, and nothing is chosen by it; a teacher that we trained never saw it either (the pocket world's own share)."""
    fingerprint: Callable[[], str]
    """Reads all text, so that a nightly run notices new lines; ask once per run."""


def default_profile(entry: Language) -> Profile:
    """$NDOGO_PROFILE, else hub or local for a language that a user added, by where its text is, else pocket."""
    given = os.environ.get("NDOGO_PROFILE", "")
    if given and given not in PROFILES:
        raise NdogoError(
            f"There is no profile `{given}`.", where="NDOGO_PROFILE", cure=f"Allowed: {', '.join(PROFILES)}."
        )
    if given:
        return given
    return "pocket" if not entry.added else "hub" if entry.corpus.startswith(sources.PREFIX) else "local"


def corpus(name: str, profile: Profile, hub: Hub | None = None, part: int | Fraction | None = None) -> Corpus:
    """The corpus of a language, or a part of its training text: so many lines of each member, or such a share of them.

    What comes from the hub is read at the commits of `hub`.
    :raises NdogoError: the language has no text in this profile.
    """
    entry, hub = language(name), hub or Hub()
    if entry.members:
        return _mixed(entry, {member: corpus(member, profile, hub, part) for member in entry.members})
    source = _source(entry, profile, hub)

    def fingerprint() -> str:
        digest = hashlib.sha256() if part is None else hashlib.sha256(f"{part!r} lines\n".encode())
        for line in source():
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()[:20]

    def share(*wanted: Share) -> Lines:
        return lambda: (line for line in source() if share_of(line) in wanted)

    pocket = profile == "pocket"  # it has held-out text of its own
    return Corpus(
        language=name,
        profile=profile,
        lines=part_of(share("training"), part),
        validation=share("validation", "held_out") if pocket else share("validation"),
        held_out=(lambda: iter(_generated(name, "held_out"))) if pocket else share("held_out"),
        fingerprint=fingerprint,
    )


def share_of(line: str) -> Share:
    """What a line is for; case, punctuation and spaces make no difference."""
    letters = "".join(c for c in line.casefold() if c.isalnum())
    number = int.from_bytes(hashlib.blake2b(letters.encode(), digest_size=4).digest(), "big")
    if number % HELD_OUT_SHARE:
        return "training"
    return "validation" if number // HELD_OUT_SHARE % 2 else "held_out"


def local_folder() -> Path:
    """The folder of the local profile, $NDOGO_DATA.

    :raises NdogoError: not set.
    """
    if not (given := os.environ.get("NDOGO_DATA")):
        raise NdogoError(
            "The local profile needs a folder.",
            where="NDOGO_DATA",
            cure="Set it to a folder with text/<code>.txt.gz and tasks/<benchmark>/<code>/{train,dev,test}.jsonl.gz.",
        )
    return Path(given)


def corpus_of(given: str, hub: Hub | None = None) -> Lines:
    """A corpus by what a person writes: a path, or `hf:ID`, `hf:ID:SPLIT` or `hf:ID:CONFIG:SPLIT` for a data set of the hub.

    :raises NdogoError: nothing there that can be read.
    """
    if not given.startswith(sources.PREFIX):
        return lines_of(Path(given))
    source, seen = sources.parse(given), hub or Hub()
    return lambda: sources.texts(source, seen)


def _source(entry: Language, profile: Profile, hub: Hub) -> Lines:
    if profile == "pocket":
        from ndogo import pocket

        if entry.name not in pocket.LANGUAGES:
            raise NdogoError(
                f"`{entry.name}` has no pocket corpus.", where="profile: pocket", cure="Use `--profile local` or `hub`."
            )
        return lambda: iter(_generated(entry.name, "corpus"))
    if entry.added:
        return corpus_of(entry.corpus, hub)
    if profile == "local":
        folder = local_folder() / "text"
        found = sorted(folder.glob(f"{entry.code}.*"))
        if not found:
            raise NdogoError(f"There is no text of {entry.name}.", where=f"{folder}/{entry.code}.txt.gz")
        return lines_of(found[0])
    if "corpus" not in entry.hub:
        raise NdogoError(f"`{entry.name}` has no text on the hub.", where="registry/languages.yaml: hub")
    source = sources.default("corpus", entry.hub["corpus"])
    return lambda: sources.texts(source, hub)


@functools.cache
def _generated(name: str, share: Literal["corpus", "held_out"]) -> tuple[str, ...]:
    """Pocket text, generated once per store: making its lines takes far longer than all that is read from them."""
    from ndogo import pocket
    from ndogo.registry.pocket_text import kept

    return tuple(kept(f"{name}-{share}.txt", lambda: "\n".join(getattr(pocket, share)(name))).split("\n"))


def _mixed(entry: Language, members: Mapping[str, Corpus]) -> Corpus:
    """Members' lines in turn by weight: as many lines as all have together, small members read again from the start."""
    first = next(iter(members.values()))

    def lines() -> Iterator[str]:
        total = sum(1 for member in members.values() for _ in member.lines())
        given = dict.fromkeys(members, 0)
        readers = {name: member.lines() for name, member in members.items()}
        for _ in range(total):
            name = min(members, key=lambda n: (given[n] + 1) / entry.members[n])
            given[name] += 1
            line = next(readers[name], None)
            if line is None:
                readers[name] = members[name].lines()
                line = next(readers[name])
            yield line

    def validation() -> Iterator[str]:
        return itertools.chain.from_iterable(member.validation() for member in members.values())

    def held_out() -> Iterator[str]:
        return itertools.chain.from_iterable(member.held_out() for member in members.values())

    def fingerprint() -> str:
        content = repr([(name, members[name].fingerprint(), weight) for name, weight in entry.members.items()])
        return hashlib.sha256(content.encode()).hexdigest()[:20]

    return Corpus(entry.name, first.profile, lines, validation, held_out, fingerprint)
