"""Who the champion of a model's name is, and the reference that never moves by itself: kept in the store.

MLflow's aliases show the same, but a database that was lost and made again must not let the next model through as "the first".
"""

import os
from collections.abc import Iterator

from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Frozen
from ndogo.registry.bundles import Store

CHAMPIONS = "champions"
"""The kind of these records in the store: one for each registered model's name."""


class Crowned(Frozen):
    """A model that was made the champion."""

    bundle: str
    version: str
    """In the Model Registry, for people."""
    benchmarks: list[str]
    """What it was judged on when it was crowned."""


class Standing(Frozen):
    """What a challenger is compared with."""

    name: str
    champion: Crowned
    reference: Crowned
    """The first champion, unless a person named another: small falls from night to night add up against it."""

    def bundles(self) -> set[str]:
        """The keys of both."""
        return {self.champion.bundle, self.reference.bundle}


def standing(store: Store, name: str) -> Standing | None:
    """Champion and reference of a registered model's name; None where there never was a champion.

    :raises NdogoError: the record is there and cannot be read: that is not the same as none.
    """
    found = store.read_record(CHAMPIONS, name, Standing)
    if found is None and os.path.lexists(store.folder / CHAMPIONS / f"{name}.json"):
        raise NdogoError(
            f"The record of {name}'s champion cannot be read.",
            where=str(store.folder / CHAMPIONS / f"{name}.json"),
            cure="Restore it, or remove it and crown a version with `ndogo promote`.",
        )
    return found


def crown(store: Store, name: str, crowned: Crowned, *, reference: bool = False) -> Standing:
    """Make a model the champion; the first one is the reference too, and so is one of which a person says so."""
    before = standing(store, name)
    fixed = crowned if reference or before is None else before.reference
    now = Standing(name=name, champion=crowned, reference=fixed)
    store.write_record(CHAMPIONS, name, now)
    return now


def standings(store: Store) -> Iterator[Standing]:
    """Of every name.

    :raises NdogoError: one cannot be read.
    """
    for file in sorted((store.folder / CHAMPIONS).glob("*.json")):
        if found := standing(store, file.stem):
            yield found
