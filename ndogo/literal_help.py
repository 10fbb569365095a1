"""Help as it is written: typer reads it as Markdown with emojis, in which `<mask>` vanishes and `hf:ID:x` is a picture."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

SPECIAL = str.maketrans({sign: f"&#{ord(sign)};" for sign in "&<>:*_`[]~\\"})


def literal(text: str | None) -> str | None:
    """A text in which Markdown finds nothing but letters."""
    return text.translate(SPECIAL) if text else text


class Command(TyperCommand):
    """A command whose help is literal."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        _make_literal(self)


class Group(TyperGroup):
    """A group whose help is literal."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        _make_literal(self)


class App(typer.Typer):
    """An app all of whose commands show their help as it is written."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, rich_markup_mode="markdown", **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # type: ignore[override]  # by keyword only
        """As typer's own."""
        return super().command(name, cls=Command, **settings)


def _make_literal(made: TyperCommand | TyperGroup) -> None:
    made.help, made.short_help = literal(made.help), literal(made.short_help)
    for parameter in made.params:
        if text := getattr(parameter, "help", None):
            parameter.help = literal(text)  # type: ignore[attr-defined]  # it has one
