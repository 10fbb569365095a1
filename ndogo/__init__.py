"""Ndogo: small models of one language from multilingual encoders. Seven calls; `ndogo.api` and `ndogo.results` say more."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ndogo.api import compress, cut, distil, evaluate, trim
    from ndogo.results import compare, export

__all__ = ["compare", "compress", "cut", "distil", "evaluate", "export", "trim"]


def __getattr__(name: str) -> Any:
    """The calls are imported when they are first asked for, so that every part of Ndogo starts at once."""
    if name in ("compare", "export"):
        from ndogo import results

        return getattr(results, name)
    if name in __all__:
        from ndogo import api

        return getattr(api, name)
    raise AttributeError(f"module `ndogo` has no attribute `{name}`")
