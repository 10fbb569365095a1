"""Removing what nobody needs: old bundles outside every registered model's lineage, and what crashes left."""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ndogo.core.errors import NdogoError
from ndogo.registry import model_registry
from ndogo.registry.artifacts import of_bundles
from ndogo.registry.bundles import Store
from ndogo.registry.champions import standings
from ndogo.registry.files import lock_file
from ndogo.registry.integrity import MARK

DAY = 86_400.0


@dataclass(frozen=True)
class Gone:
    """A folder that nobody needs."""

    kind: str
    path: Path


def clean(store: Store, keep_days: float, *, pretend: bool = False) -> list[Gone]:
    """Remove bundles unused for `keep_days` that no champion, reference or challenger needs, what teachers said and nobody
    asked for since, and left drafts; what went.

    What MLflow keeps of such a bundle on this machine goes with it; its runs and versions stay, with their numbers.
    Nothing at all is removed when the model registry cannot be reached or a champion's record cannot be read.
    :raises NdogoError: one of these.
    """
    crowned = {key for standing in standings(store) for key in standing.bundles()}
    needed = lineage(store, _registered(store) | crowned)
    before = time.time() - keep_days * DAY
    gone = [Gone("bundles", f) for f in _folders(store, "bundles") if f.name not in needed and _last_use(f) < before]
    kept = needed | {f.name for f in _folders(store, "bundles")} - {one.path.name for one in gone}
    artefacts = [(key, folder) for key, folder in of_bundles(store) if key not in kept and _last_use(folder) < before]
    gone += [Gone("MLflow's copies", folder) for _, folder in artefacts]
    for kind in ("drafts", "work"):
        gone += [Gone(kind, f) for f in _folders(store, kind) if not _busy(store, f.name.split("-")[0])]
    gone += [Gone("what teachers said", f) for f in _folders(store, "teacher") if f.stat().st_mtime < before]
    gone += [Gone("damaged", f) for f in _folders(store, "damaged") if f.stat().st_mtime < before]
    if not pretend:
        for one in gone:
            shutil.rmtree(one.path)
        _note_removed(store, {key for key, _ in artefacts})
    return gone


def freed(gone: Sequence[Gone]) -> dict[str, tuple[int, int]]:
    """Folders and freed bytes by kind. A file that lies under several names counts once, and only if all of them go."""
    found = dict.fromkeys((one.kind for one in gone), (0, 0))
    names: Counter[tuple[int, int]] = Counter()
    for one in gone:
        size = 0
        for about in (file.lstat() for file in one.path.rglob("*") if not file.is_dir()):
            names[about.st_dev, about.st_ino] += 1
            if names[about.st_dev, about.st_ino] == about.st_nlink:
                size += about.st_size
        folders, before = found[one.kind]
        found[one.kind] = folders + 1, before + size
    return found


def _note_removed(store: Store, keys: set[str]) -> None:
    """Say so on the versions whose files are gone."""
    registry = model_registry.client(store)
    for version in registry.search_model_versions() if keys else []:
        if version.tags.get("bundle") in keys:
            registry.set_model_version_tag(version.name, version.version, "files", "removed by ndogo clean")


def lineage(store: Store, keys: set[str]) -> set[str]:
    """The keys and all their ancestors."""
    found: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        if (store.path(key) / MARK).is_file():
            waiting += store.details(key).parents.values()
    return found


def _registered(store: Store) -> set[str]:
    from mlflow.exceptions import MlflowException

    try:
        registry = model_registry.client(store)
        names = [model.name for model in registry.search_registered_models()]
        aliased = [
            model_registry.by_alias(store, name, alias)
            for name in names
            for alias in (model_registry.CHAMPION, model_registry.CHALLENGER)
        ]
    except MlflowException as error:
        raise NdogoError(
            f"The model registry cannot be reached, so nothing was removed: {error}",
            where=model_registry.tracking_uri(store),
            cure="Start it (`make serve`), or set MLFLOW_TRACKING_URI.",
        ) from error
    return {version.tags["bundle"] for version in aliased if version and "bundle" in version.tags}


def _folders(store: Store, kind: str) -> list[Path]:
    folder = store.folder / kind
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.is_symlink()) if folder.is_dir() else []


def _last_use(folder: Path) -> float:
    mark = folder / MARK
    return (mark if mark.exists() else folder).stat().st_mtime


def _busy(store: Store, key: str) -> bool:
    try:
        with FileLock(lock_file(store.folder, key), timeout=0):
            return False
    except Timeout:
        return True
