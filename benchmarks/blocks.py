"""Marked blocks of a page: what a script measured stands between its own two marks, and is replaced whole."""

import re
from pathlib import Path


def replace_block(file: Path, name: str, text: str) -> None:
    """Put a text between `<!-- NAME -->` and `<!-- end: NAME -->`.

    :raises SystemExit: the page has no such marks.
    """
    marked = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.DOTALL)
    page, count = marked.subn(lambda found: f"{found[1]}{text}\n{found[2]}", file.read_text(encoding="utf-8"))
    if not count:
        raise SystemExit(f"{file} has no block <!-- {name} --> ... <!-- end: {name} -->")
    file.write_text(page, encoding="utf-8")
