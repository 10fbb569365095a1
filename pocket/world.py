"""A pocket language: one data file read into words, concord tables and compiled clause templates.

A template is a line of tokens. Inside a token `{a}` is the word bound to slot `a`; `{a.s}` the feature `s` of its class (a
literal, such as a subject prefix); `{b.ACC}`, in capitals, the rule `ACC` of its class applied to the word itself;
`{q@a.adj}` the rule `adj` of the class of `a` applied to the word of `q`, which is agreement; `{v.1}` the second listed form
of `v`. A rule is `x>y` (suffix), `p<` (prefix) or `#n` (form n). The first letter of a slot says what may fill it (see
generator.py). `token/TAG` states the UPOS tag where the slot does not; `_` is a space inside a word.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ndogo.core.errors import NdogoError

LANGUAGES = ("swahili", "hausa", "igbo", "yoruba", "kinyarwanda", "tagalog", "maltese", "slovak", "english")
TOPICS = ("health", "sport", "politics", "trade", "farming")
ROLES = ("per", "loc", "org", "none")
TAGS = {
    "a": "NOUN",
    "b": "NOUN",
    "x": "NOUN",
    "k": "NOUN",
    "c": "NOUN",
    "h": "NOUN",
    "g": "NOUN",
    "d": "NOUN",
    "n": "PROPN",
}
TAGS |= {
    "p": "PROPN",
    "v": "VERB",
    "w": "VERB",
    "o": "VERB",
    "u": "VERB",
    "q": "ADJ",
    "r": "ADJ",
    "j": "ADJ",
    "t": "ADV",
    "e": "ADV",
}
FOLDER = Path(__file__).parent / "languages"
SLOT = re.compile(r"\{([^}]*)\}")


@dataclass(frozen=True)
class Word:
    """One lexeme in one number: its listed forms, its concord class, and the role it has as a name ("" for no name)."""

    forms: tuple[str, ...]
    cls: str
    role: str = ""


@dataclass(frozen=True)
class Token:
    """A written word with its UPOS tag and its role as part of a name ("" for none); `first` opens the name."""

    text: str
    tag: str
    role: str = ""
    first: bool = False


Bind = Callable[[str], Word]
Piece = tuple[str, str, str, bool]  # slot, slot whose class decides, feature, whether it writes the slot's own word
Entry = tuple[Word, ...]


@dataclass(frozen=True)
class World:
    """One language: `words` maps a list's name to its entries (an entry = one lexeme, singular and plural)."""

    name: str
    classes: dict[str, dict[str, str]]
    words: dict[str, tuple[Entry, ...]]
    clauses: dict[str, tuple[Any, ...]]
    joins: dict[str, tuple[tuple[str, ...], ...]]
    functions: dict[str, str]
    sandhi: tuple[tuple[re.Pattern[str], str], ...]
    names: dict[str, str]
    glue: re.Pattern[str]
    topical: dict[str, frozenset[Word]]

    def realise(self, template: tuple[Any, ...], bind: Bind) -> list[Token]:
        """Fill a compiled template; `bind` maps a slot's name to a word, the same word each time it is asked."""
        tokens: list[Token] = []
        for pieces, tag, slot in template:
            text = "".join(piece if isinstance(piece, str) else self._form(piece, bind) for piece in pieces)
            word = bind(slot) if slot else None
            role = word.role if word else ""
            tag = "PROPN" if role and tag == "NOUN" else tag
            for place, part in enumerate(text.split()):
                tokens.append(
                    Token(part, self.functions.get(part, tag) if place and not role else tag, role, place == 0)
                )
        return tokens

    def plain(self, tokens: list[Token]) -> str:
        """The tokens as text: no space before a stop, none after the language's joining sign at the end of a token."""
        return self.glue.sub("", " ".join(token.text for token in tokens))

    def _form(self, piece: Piece, bind: Bind) -> str:
        slot, owner, feature, lexical = piece
        word = bind(slot)
        if not feature:
            return word.forms[0]
        if feature.isdigit():
            return word.forms[int(feature)]
        rule = self.classes[bind(owner).cls][feature]
        return apply(rule, word) if lexical else rule


def apply(rule: str, word: Word) -> str:
    """Apply a concord rule to a word; raises ValueError where the word does not end as the rule demands."""
    if rule.startswith("#"):
        return word.forms[int(rule[1:])]
    lemma = word.forms[0]
    if "<" in rule:
        return rule.replace("<", "") + lemma
    old, _, new = rule.partition(">")
    if not lemma.endswith(old):
        raise ValueError(f"{lemma!r} does not end in {old!r}")
    return lemma[: len(lemma) - len(old)] + new


def compile_template(line: str, functions: dict[str, str]) -> tuple[Any, ...]:
    """Compile one template line to ((pieces, tag, slot), ...); slot is the token's lexical slot, "" for a function word."""
    compiled = []
    for token in line.split():
        body, _, stated = token.partition("/")
        pieces: list[str | Piece] = []
        lexical = ""
        for place, part in enumerate(SLOT.split(body)):
            if place % 2 == 0:
                if part:
                    pieces.append(part.replace("_", " "))
                continue
            path, _, feature = part.partition(".")
            slot, _, owner = path.partition("@")
            itself = bool(owner) or not feature or feature.isdigit() or feature.isupper()
            pieces.append((slot, owner or slot, feature, itself))
            lexical = slot if itself else lexical
        tag = stated or (TAGS[lexical[0]] if lexical else functions.get(body, ""))
        if not tag:
            raise ValueError(f"{token!r} in {line!r} has no tag: list it under `functions` or write token/TAG")
        compiled.append((tuple(pieces), tag, lexical))
    return tuple(compiled)


def _entries(text: str, classes: dict[str, dict[str, str]], default: str, role: str) -> tuple[Entry, ...]:
    """Read `form/form:class` words. Two forms, and a class that names its plural class in `pl`: singular and plural."""
    entries: list[Entry] = []
    for item in text.split():
        forms, _, cls = item.partition(":")
        parts = tuple(forms.replace("_", " ").split("/"))
        cls = cls or default
        plural = classes[cls].get("pl", "") if ":" in item else ""
        if plural and len(parts) == 2:
            entries.append((Word(parts[:1], cls, role), Word(parts[1:], plural, role)))
        else:
            entries.append((Word(parts, cls, role),))
    return tuple(entries)


def _flatten(node: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(node, str):
        return {prefix: node}
    flat: dict[str, str] = {}
    for key, value in node.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


@functools.cache
def world(language: str) -> World:
    """Read a pocket language; raises NdogoError for a name that is none."""
    if language not in LANGUAGES:
        raise NdogoError(
            f"no pocket language {language!r}", where="pocket", cure=f"choose one of {', '.join(LANGUAGES)}"
        )
    data = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    classes = {
        str(name): {str(k): str(v).replace("_", " ") for k, v in row.items()} for name, row in data["classes"].items()
    }
    default = str(data["default"])
    functions = {word: tag for tag, words in data["functions"].items() for word in words.split()}
    functions |= {",": "PUNCT", ".": "PUNCT", ":": "PUNCT"}
    roles = {"given": "PER", "places": "LOC", "orgs": "ORG"}
    words = {
        key: _entries(text, classes, "" if key.startswith("names.") else default, roles.get(key.partition(".")[2], ""))
        for key, text in _flatten(data["words"]).items()
    }
    clauses = {
        key: tuple(compile_template(line, functions) for line in text.splitlines())
        for key, text in _flatten(data["clauses"]).items()
    }
    joins = {key: tuple(tuple(line.split()) for line in text.splitlines()) for key, text in data["joins"].items()}
    sandhi = tuple((re.compile(pattern), put) for pattern, put in data.get("sandhi", ()))
    glue = re.compile(rf"(?<=[{data.get('glue', '-')}]) | (?=[.,:])")
    topical = {
        topic: frozenset(
            word for key in ("people", "things", "verbs") for entry in words[f"topics.{topic}.{key}"] for word in entry
        )
        for topic in TOPICS
    }
    return World(
        language,
        classes,
        words,
        clauses,
        joins,
        functions,
        sandhi,
        {str(role): str(cls) for role, cls in data["names"].items()},
        glue,
        topical,
    )
