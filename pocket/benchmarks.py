"""Labelled rows of a pocket language: sentiment, topic, ner, pos; train, dev, test.

Train shows a third of the words of every list. Of the content words and names of dev and test nine in ten are others.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ndogo.pocket.generator import BENCHMARK, NAMED, Sense, Teller, naming, polar, share, thing, topical, two_names
from ndogo.pocket.world import TOPICS, Token, World

Row = dict[str, Any]
Made = tuple[list[Token], str]
SIZES = {"train": 200, "dev": 80, "test": 240}
UNSEEN = {"train": 0.0, "dev": 0.9, "test": 0.9}
LABELS = {1: "positive", -1: "negative"}
NAMES = ("sentiment", "topic", "ner", "pos")


def _sentiment(teller: Teller, place: int) -> Made:
    polarity = 1 if place % 2 else -1
    return polar(teller, polarity, 0.35, 0.35), LABELS[polarity]


def _topic(teller: Teller, place: int) -> Made:
    topic = TOPICS[place % len(TOPICS)]
    return topical(teller, topic, 0.6), topic


def _ner(teller: Teller, place: int) -> Made:
    kind = teller.rng.random()
    if kind < 0.5:
        return naming(teller, NAMED[place % 3], 0.2), ""
    if kind < 0.8:
        return two_names(teller), ""
    return teller.join("plain", thing(teller), naming(teller, NAMED[place % 3], 0.2)), ""


def _pos(teller: Teller, place: int) -> Made:
    if place % 5 < 3:
        other = thing(teller) if place % 5 == 0 else teller.clause("dual", Sense())
        return teller.join("plain", other, polar(teller, teller.sign(), 0.0, 0.3)), ""
    return (topical(teller, teller.topic(), 0.3), "") if place % 5 == 3 else _ner(teller, place)


MAKERS: dict[str, Callable[[Teller, int], Made]] = {"sentiment": _sentiment, "topic": _topic, "ner": _ner, "pos": _pos}


def _row(world: World, name: str, tokens: list[Token], label: str) -> Row:
    if name in ("sentiment", "topic"):
        return {"text": world.plain(tokens), "label": label}
    words = [token.text for token in tokens]
    if name == "pos":
        return {"tokens": words, "tags": [token.tag for token in tokens]}
    return {
        "tokens": words,
        "tags": [f"{'B' if token.first else 'I'}-{token.role}" if token.role else "O" for token in tokens],
    }


def rows(world: World, name: str) -> dict[str, list[Row]]:
    """The three splits of one benchmark. Every text is new: none stands in the corpus, in `held_out` or in another split."""
    seen: set[str] = set()
    splits: dict[str, list[Row]] = {}
    for split, size in SIZES.items():
        teller = Teller(world, random.Random(f"pocket/{world.name}/{name}/{split}"), UNSEEN[split])
        made: list[Row] = []
        for _ in range(100 * size):
            tokens, label = MAKERS[name](teller, len(made))
            tokens = teller.line(tokens)
            text = world.plain(tokens)
            if share(text) == BENCHMARK and text not in seen:
                seen.add(text)
                made.append(_row(world, name, tokens, label))
            if len(made) == size:
                break
        splits[split] = made
    return splits
