"""Text of a pocket language with labels known by construction.

A line is a few clauses whose labels were chosen first: a topic, a polarity, the role that a name plays. Words of one label
keep each other's company in the corpus, so that a masked language model learns them from text alone; the labelled rows show
a third of the words only, so that a model without that pretraining cannot know the rest. Randomness is `random.Random(text)`
and `random()` over sequences: the same bytes on every machine and Python.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeVar

from ndogo.pocket.world import TOPICS, Token, Word, World

T = TypeVar("T")
POLARITY = {1: "pos", -1: "neg"}
HELD_OUT, BENCHMARK, CORPUS = 0, 1, (2, 3, 4, 5, 6, 7)  # shares of all possible lines, by hash
NAMED = ("PER", "LOC", "ORG")
NAMES = {"PER": "names.given", "LOC": "names.places", "ORG": "names.orgs"}
PLAIN = {"x": "things", "t": "time", "d": "dual", "y": "verbs"}


@dataclass(frozen=True)
class Sense:
    """What a clause is about: any of a topic, a polarity (+1, -1) and a name in its role."""

    topic: str = ""
    polarity: int = 0
    name: Word | None = None
    role: str = "NONE"


class Teller:
    """Tells clauses of one language. `unseen`: the share of words from outside the train lists; None: any word."""

    def __init__(self, world: World, rng: random.Random, unseen: float | None = None) -> None:
        self.world = world
        self.rng = rng
        self.unseen = unseen

    def chance(self, share: float) -> bool:
        """True in that share of calls."""
        return self.rng.random() < share

    def one(self, items: Sequence[T]) -> T:
        """One item, uniformly."""
        return items[int(self.rng.random() * len(items))]

    def word(self, key: str) -> Word:
        """One word of a list: from its train third (every third entry) or from the rest, as `unseen` says."""
        entries = self.world.words[key]
        if self.unseen is not None and len(entries) > 2:
            fresh = self.chance(self.unseen)
            entries = tuple(entry for place, entry in enumerate(entries) if (place % 3 != 0) == fresh)
        return self.one(self.one(entries))

    def name(self, role: str) -> Word:
        """A name in a role, three times in five one that could have another; role "none": the common noun, in lower case."""
        if role == "none":
            word = self.word("names.common")
            lower = (word.forms[0].lower(), *word.forms[1:])
            return replace(word, forms=lower, cls=word.cls or self.world.names["common"])
        shared = "names.common" if self.chance(0.4) else "names.ambiguous"
        return self._named(self.word(shared if self.chance(0.6) else NAMES[role]), role)

    def _named(self, word: Word, role: str) -> Word:
        return replace(word, cls=word.cls or self.world.names[role], role=role)

    def sign(self) -> int:
        """+1 or -1."""
        return 1 if self.chance(0.5) else -1

    def topic(self, but: str = "") -> str:
        """A topic, other than `but`."""
        return self.one([topic for topic in TOPICS if topic != but])

    def _fill(self, slot: str, sense: Sense) -> Word:
        """The word for a slot; its first letter says what may fill it."""
        kind, topic = slot[0], sense.topic
        if kind in PLAIN:
            return self.word(PLAIN[kind])
        if kind in "qrwoge":
            sign = sense.polarity or self.sign()
            return self.word(f"{POLARITY[-sign if kind == 'r' else sign]}.{'q' if kind == 'r' else kind}")
        if kind in "kuj":
            return self.word(f"{sense.role.lower()}.{kind}")
        if kind in "bv":
            weak = {"b": "things", "v": "verbs"}[kind]
            return self.word(f"topics.{topic}.{weak}" if topic and self.chance(0.8) else weak)
        return self._someone(sense) if kind == "a" else self._name_slot(kind, sense)

    def _someone(self, sense: Sense) -> Word:
        if sense.topic and self.chance(0.6):
            return self.word(f"topics.{sense.topic}.people")
        if not sense.name and self.chance(0.35):
            return self._named(self.word("names.given"), "PER")
        return self.word("people") if self.chance(0.5) else self.word(f"topics.{self.topic()}.people")

    def _name_slot(self, kind: str, sense: Sense) -> Word:
        if kind == "h":
            return self.word(f"headline.{sense.topic}")
        if kind == "c":
            return self.name("none")
        return sense.name if kind == "n" and sense.name else self._named(self.word("names.places"), "LOC")

    def clause(self, kind: str, sense: Sense) -> list[Token]:
        """One clause from the templates of that kind. A topical clause holds at least one word of its topic."""
        bound: dict[str, Word] = {}

        def bind(slot: str) -> Word:
            while slot not in bound:
                word = self._fill(slot, sense)
                if slot == "n" or word not in bound.values():  # nobody meets himself
                    bound[slot] = word
            return bound[slot]

        tokens = self.world.realise(self.one(self.world.clauses[kind]), bind)
        if sense.topic and self.world.topical[sense.topic].isdisjoint(bound.values()):
            return self.clause(kind, sense)
        return tokens

    def join(self, kind: str, *clauses: list[Token]) -> list[Token]:
        """Join clauses by a template of that kind; {1} is the clause that carries the label."""
        tokens: list[Token] = []
        for piece in self.one(self.world.joins[kind]):
            if piece.startswith("{"):
                tokens += clauses[int(piece[1]) - 1]
            else:
                tokens += [Token(part, self.world.functions[piece]) for part in piece.split("_")]
        return tokens

    def line(self, tokens: list[Token]) -> list[Token]:
        """The tokens as written: sandhi applied, sentences capitalised and closed."""
        tokens = [*tokens, Token(".", "PUNCT")]
        text = " ".join(token.text for token in tokens)
        for pattern, put in self.world.sandhi:
            text = pattern.sub(put, text)
        written, start = [], True
        for word, token in zip(text.split(" "), tokens, strict=True):
            written.append(Token(word[0].upper() + word[1:] if start else word, token.tag, token.role, token.first))
            start = word in ".:"
        return written


def opinion(teller: Teller, polarity: int, negated: float) -> list[Token]:
    """One clause of that polarity; in the given share by negating a word of the other polarity."""
    kind = "judge" if teller.chance(0.6) else "feel"
    if teller.chance(negated):
        return teller.clause(f"{kind}_not", Sense(polarity=-polarity))
    return teller.clause(kind, Sense(polarity=polarity))


def contrasted(teller: Teller, tell: Callable[[bool], list[Token]], share: float) -> list[Token]:
    """`tell(True)` is the clause that counts; in the given share a clause of another label stands beside it."""
    return teller.join("contrast", tell(True), tell(False)) if teller.chance(share) else tell(True)


def topical(teller: Teller, topic: str, contrast: float) -> list[Token]:
    """Clauses about a topic; beside a concession about another one in the given share."""
    other = teller.topic(but=topic)
    if teller.chance(contrast):
        return teller.join("contrast", teller.clause("topic", Sense(topic)), teller.clause("topic", Sense(other)))
    return teller.clause("topic", Sense(topic))


def polar(teller: Teller, polarity: int, contrast: float, negated: float) -> list[Token]:
    """An opinion; beside a concession of the other polarity in the given share."""
    return contrasted(teller, lambda main: opinion(teller, polarity if main else -polarity, negated), contrast)


def naming(teller: Teller, role: str, clue: float) -> list[Token]:
    """Two clauses about one name, of which one says only that it was named; both give a clue in the given share."""
    sense = Sense(name=teller.name(role), role=role)
    one, two = teller.clause("cue", sense), teller.clause("cue" if teller.chance(clue) else "neutral", sense)
    return teller.join("plain", one, two) if teller.chance(0.5) else teller.join("plain", two, one)


def two_names(teller: Teller) -> list[Token]:
    """Two names, each with a clue of its own, and in half of the lines the first one again without."""
    senses = [Sense(name=teller.name(role), role=role) for role in (teller.one(NAMED), teller.one(NAMED))]
    tokens = teller.join("plain", *(teller.clause("cue", sense) for sense in senses))
    return teller.join("after", tokens, teller.clause("neutral", senses[0])) if teller.chance(0.5) else tokens


def thing(teller: Teller) -> list[Token]:
    """A sentence that opens with a common noun that elsewhere is a name."""
    return teller.clause("common", Sense())


def opening(teller: Teller, key: str, tag: str, stop: str) -> list[Token]:
    """A headline or an exclamation before the clauses it sums up."""
    return [*(Token(part, tag) for part in teller.word(key).forms[0].split()), Token(stop, "PUNCT")]


def _corpus_line(teller: Teller) -> list[Token]:
    kind = teller.rng.random()
    if kind < 0.27:
        topic = teller.topic()
        tokens = topical(teller, topic, 0.4)
        head = opening(teller, f"headline.{topic}", "NOUN", ":") if teller.chance(0.3) else []
        return [*head, *(teller.join("after", tokens, topical(teller, topic, 0.0)) if teller.chance(0.8) else tokens)]
    if kind < 0.7:
        return _corpus_opinion(teller)
    if kind < 0.92:
        return naming(teller, teller.one(NAMED), 0.6) if teller.chance(0.6) else two_names(teller)
    return thing(teller) if kind < 0.96 else teller.clause("dual", Sense())


def _corpus_opinion(teller: Teller) -> list[Token]:
    """A chorus of words of one polarity; or opinions that sum up to one, and a single word that says to which."""
    polarity, kind = teller.sign(), teller.rng.random()
    sense = Sense(polarity=polarity)
    if kind < 0.35:
        last = teller.clause("effect", sense) if teller.chance(0.6) else teller.clause("feel", sense)
        head = opening(teller, f"{POLARITY[polarity]}.e", "ADV", ",") if teller.chance(0.3) else []
        return [*head, *teller.join("after", teller.clause("praise", sense), last)]
    corrected = kind < 0.45
    tokens = teller.clause("correct", Sense(polarity=-polarity)) if corrected else polar(teller, polarity, 0.4, 0.3)
    if teller.chance(0.35):
        return [*opening(teller, f"{POLARITY[polarity]}.e", "ADV", ","), *tokens]
    return teller.join("after", tokens, teller.clause("outcome", sense))


@dataclass(frozen=True)
class Lesson:
    """What the lines are about from which a teacher learns what a corpus says too seldom; shares, the rest is opinions."""

    plain: float
    """Corpus lines."""
    names: float
    contrast: float
    """Of the opinions: beside a concession."""
    negated: float

    def tell(self, teller: Teller) -> list[Token]:
        """A line: of the corpus, about names, or an opinion and what came of it, which only the whole opinion tells."""
        kind = teller.rng.random()
        if kind < self.plain:
            return _corpus_line(teller)
        if kind < self.plain + self.names:
            return naming(teller, teller.one(NAMED), 0.4) if teller.chance(0.5) else two_names(teller)
        polarity = teller.sign()
        outcome = teller.clause("outcome", Sense(polarity=polarity))
        return teller.join("after", polar(teller, polarity, self.contrast, self.negated), outcome)


def share(text: str) -> int:
    """Which of eight shares of all possible lines a line belongs to."""
    return sha256(text.encode()).digest()[0] % 8


def lines(
    world: World, key: str, shares: tuple[int, ...], tell: Callable[[Teller], list[Token]] = _corpus_line
) -> Iterator[str]:
    """Lines without end, by default of the corpus, from the given shares of all possible lines."""
    teller = Teller(world, random.Random(f"pocket/{world.name}/{key}"))
    while True:
        text = world.plain(teller.line(tell(teller)))
        if share(text) in shares:
            yield text
