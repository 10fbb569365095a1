"""Ndogo: small models of one language from multilingual encoders. Five calls; `ndogo.api` says more."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ndogo.api import compress, cut, distil, evaluate, trim

__all__ = ["compress", "cut", "distil", "evaluate", "trim"]


def __getattr__(name: str) -> Any:
    """The calls are imported when they are first asked for, so that every part of Ndogo starts at once."""
    if name in __all__:
        from ndogo import api

        return getattr(api, name)
    raise AttributeError(f"module `ndogo` has no attribute `{name}`")
