"""Pocket text is generated once per store: making it takes seconds of every run, reading it none.

A kept file begins with the hash of the rest; one that was damaged is made again. It lies in a folder that is named by the
generator's own files, so that another Ndogo with another generator makes its own.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ndogo import pocket
from ndogo.registry.bundles import home

FOLDER = "pocket"
"""Below the store."""


def kept(name: str, make: Callable[[], str]) -> str:
    """The text of that name from the store, or what `make` gives, which is then kept there. Where no store is, nothing is."""
    if not home().is_dir():
        return make()
    file = home() / FOLDER / generator() / name
    if file.is_file():
        stated, _, content = file.read_text(encoding="utf-8").partition("\n")
        if stated == _hash(content):
            return content
    content = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{name}.draft-{os.getpid()}")
    draft.write_text(f"{_hash(content)}\n{content}", encoding="utf-8")
    draft.rename(file)
    return content


@functools.cache
def generator() -> str:
    """Names what generates the text: 20 digits over the bytes of its code and word lists."""
    digest = hashlib.sha256()
    folder = Path(pocket.__file__).parent
    for file in sorted([*folder.glob("*.py"), *(folder / "languages").iterdir()]):
        if file.is_file():
            digest.update(file.name.encode() + b"\n" + file.read_bytes())
    return digest.hexdigest()[:20]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
