"""Small models without torch: `model = ndogo_run.load(folder)`, then `fill`, `classify`, `tag`, `embed` or `search`."""

from ndogo_run.errors import RunError
from ndogo_run.model import Model, Scored, Span, load

__all__ = ["Model", "RunError", "Scored", "Span", "load"]
