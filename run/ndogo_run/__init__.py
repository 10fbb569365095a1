"""Small models without torch: `model = ndogo_run.load(folder)`, then `fill`, `classify`, `tag`, `embed` or `search`."""

from typing import TYPE_CHECKING, Any

from ndogo_run.errors import RunError

if TYPE_CHECKING:
    from ndogo_run.model import Model, Scored, Span, load

__all__ = ["Model", "RunError", "Scored", "Span", "load"]


def __getattr__(name: str) -> Any:
    """What needs onnxruntime is imported when it is first asked for, so that a command's help answers at once."""
    if name in __all__:
        from ndogo_run import model

        return getattr(model, name)
    raise AttributeError(f"module `ndogo_run` has no attribute `{name}`")
