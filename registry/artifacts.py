"""Where MLflow's artefacts lie on this machine's disk, and the bytes that they share with the bundles."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from ndogo.registry.bundles import Store
from ndogo.registry.integrity import MARK, read_details

FOLDER = "artifacts"
"""Below the store's folder: a folder per experiment."""
BUNDLE = "bundle"
"""Where a step's run keeps its bundle."""


def local(uri: str) -> Path | None:
    """The folder of an artefact address; None where a server keeps it."""
    parts = urlparse(uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def link(folder: Path, place: Path) -> None:
    """Lay the files of a folder at another place, under the same bytes: none is ever written to again, only removed.

    Where the disk knows no links, or is another one, they are copied. What is there already is replaced.
    """
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        target = place / file.relative_to(folder)
        if target.exists() and target.samefile(file):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.draft-{os.getpid()}")
        draft.unlink(missing_ok=True)
        try:
            os.link(file, draft)
        except OSError:
            shutil.copy2(file, draft)
        draft.replace(target)


def of_bundles(store: Store) -> Iterator[tuple[str, Path]]:
    """The key of every bundle that MLflow's artefacts hold here, and the folder: of steps' runs and of registered versions."""
    for folder in sorted((store.folder / FOLDER).glob(f"*/*/artifacts/{BUNDLE}")):
        if (folder / MARK).is_file():
            yield read_details(folder).key, folder
    for folder in sorted((store.folder / FOLDER).glob("*/models/*/artifacts/artifacts/*")):
        if (folder / MARK).is_file():
            yield folder.name, folder
