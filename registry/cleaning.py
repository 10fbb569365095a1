"""Removing what nobody needs: old bundles outside every registered model's lineage, and what crashes left."""

import shutil
import time
from pathlib import Path

from filelock import FileLock, Timeout

from ndogo.core.errors import NdogoError
from ndogo.registry import model_registry
from ndogo.registry.bundles import Store
from ndogo.registry.champions import standings
from ndogo.registry.integrity import MARK

DAY = 86_400.0


def clean(store: Store, keep_days: float, *, pretend: bool = False) -> list[Path]:
    """Remove bundles unused for `keep_days` that no champion, reference or challenger descends from, and left drafts; what went.

    Nothing at all is removed when the model registry cannot be reached or a champion's record cannot be read.
    :raises NdogoError: one of these.
    """
    crowned = {key for standing in standings(store) for key in standing.bundles()}
    needed = lineage(store, _registered(store) | crowned)
    before = time.time() - keep_days * DAY
    gone = [f for f in _folders(store, "bundles") if f.name not in needed and _last_use(f) < before]
    gone += [f for kind in ("drafts", "work") for f in _folders(store, kind) if not _busy(store, f.name.split("-")[0])]
    gone += [f for f in _folders(store, "damaged") if f.stat().st_mtime < before]
    for folder in [] if pretend else gone:
        shutil.rmtree(folder)
    return gone


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
    return sorted(f for f in folder.iterdir() if f.is_dir()) if folder.is_dir() else []


def _last_use(folder: Path) -> float:
    mark = folder / MARK
    return (mark if mark.exists() else folder).stat().st_mtime


def _busy(store: Store, key: str) -> bool:
    try:
        with FileLock(store.folder / "locks" / f"{key}.lock", timeout=0):
            return False
    except Timeout:
        return True
