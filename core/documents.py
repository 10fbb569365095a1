"""YAML and JSON that people give: regular files of bounded size and depth, plain values, finite numbers, each key once."""

import json
import math
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from ndogo.core.errors import NdogoError

YAML_BYTES, JSON_BYTES = 256 * 1024, 16 * 1024 * 1024
"""The largest that are read; those of this project have a few thousand bytes."""
DEPTH = 32
"""Of tables and lists within each other; a recipe has six."""
BOOLEANS = {"true": True, "false": False}


def read_file(file: Path, most: int) -> bytes:
    """The bytes of a regular file of at most so many.

    :raises NdogoError: not there, not a regular file, larger, or it cannot be read.
    """
    try:
        if not file.is_file():
            what = "it is no regular file" if file.exists() else "it is not there"
            raise NdogoError(f"The file cannot be read: {what}.", where=str(file), cure="Check the path.")
        with file.open("rb") as opened:
            found = opened.read(most + 1)
    except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
        raise NdogoError(f"The file cannot be read: {error}.", where=str(file)) from error
    if len(found) > most:
        raise NdogoError(
            f"The file is too large: {file.stat().st_size:,} bytes, where at most {most:,} are read.", where=str(file)
        )
    return found


def read_text(file: Path, most: int = YAML_BYTES) -> str:
    """The text of such a file.

    :raises NdogoError: as `read_file`, or not UTF-8.
    """
    try:
        return read_file(file, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NdogoError(f"The file is not UTF-8 (byte {error.start}).", where=str(file)) from error


def read_yaml(file: Path) -> Any:
    """What a YAML file says.

    :raises NdogoError: as `read_text` and `parse_yaml`.
    """
    return parse_yaml(read_text(file), where=str(file))


def read_json(file: Path, most: int = JSON_BYTES) -> Any:
    """What a JSON file says.

    :raises NdogoError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(file, most), where=str(file))


def parse_yaml(text: str, *, where: str) -> Any:
    """What YAML says, in words of YAML 1.2: `yes` is a word and no truth value, a date is text.

    :raises NdogoError: no YAML (line and column), or more than plain values.
    """
    if len(text) > YAML_BYTES:
        raise NdogoError(f"The text is too long: {len(text):,} letters, of {YAML_BYTES:,}.", where=where)
    try:
        return yaml.load(text, Loader=_Plain)  # a SafeLoader that takes less
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise NdogoError(f"This is not YAML: {problem}.", where=place) from error
    except (
        ValueError,
        OverflowError,
        IndexError,
        RecursionError,
    ) as error:  # a number with thousands of digits; `\UFFFFFFFF`
        raise NdogoError(f"This is not YAML: {error}.", where=where) from error


def parse_json(text: str, *, where: str) -> Any:
    """What JSON says.

    :raises NdogoError: no JSON, or more than plain values.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
        _check(found)
    except RecursionError as error:
        raise NdogoError(f"The JSON is nested more than {DEPTH} deep.", where=where) from error
    except ValueError as error:
        raise NdogoError(f"This is not JSON: {error}.", where=where) from error
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key `{key[:80]}` stands there twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check(value: Any, depth: int = 0) -> None:
    """Refuse what JSON's own reader lets through."""
    if depth > DEPTH:
        raise ValueError(f"it is nested more than {DEPTH} deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check(key, depth + 1)
            _check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)
    elif isinstance(value, str):
        check_letters(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no finite number")


def check_letters(text: str) -> None:
    """Refuse half a letter: a surrogate without its other half, which no file can hold.

    :raises ValueError: there is one.
    """
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("it holds half a letter (a lone surrogate)")


class _Plain(yaml.SafeLoader):
    """No anchors, tags, dates or merge keys; keys once; finite numbers."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own way
        first: [
            (tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] not in ("timestamp", "merge", "bool")
        ]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node, unless it is too deep, refers to another or names its type."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse("anchors and references are not read; write the value out", event)
        if getattr(event, "tag", None):
            self._refuse(f"types such as {event.tag[:80]} are not read", event)
        if self.depth >= DEPTH:
            self._refuse(f"it is nested more than {DEPTH} deep", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """A table whose keys are plain, and stand there once."""
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse("a key is a word or a number", key_node)
            key = self.construct_object(key_node)
            if key in found:
                self._refuse(f"the key `{str(key)[:80]}` stands there twice", key_node)
            found[key] = self.construct_object(value_node, deep=True)
        return found

    def construct_scalar(self, node: Any) -> str:
        """Text without half a letter."""
        text = str(super().construct_scalar(node))
        check_letters(text)
        return text

    def _refuse(self, problem: str, at: Any) -> None:
        raise yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


def _boolean(loader: _Plain, node: Any) -> bool:
    return BOOLEANS[loader.construct_scalar(node).lower()]


def _float(loader: _Plain, node: Any) -> float:
    found = yaml.SafeLoader.construct_yaml_float(loader, node)
    if not math.isfinite(found):
        raise yaml.constructor.ConstructorError(None, None, f"{node.value} is no finite number", node.start_mark)
    return found


_Plain.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$", re.IGNORECASE), list("tTfF"))
_Plain.add_constructor("tag:yaml.org,2002:bool", _boolean)
_Plain.add_constructor("tag:yaml.org,2002:float", _float)
