"""Size against quality, as a PNG."""

import io
from typing import TYPE_CHECKING

from ndogo.evaluation.summary import ModelSummary, Role, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

COLOURS: dict[Role, str] = {
    "original": "#334155",
    "adapted": "#0f766e",
    "student": "#c2410c",
    "untrained": "#94a3b8",
    "cut": "#94a3b8",
    "scratch": "#94a3b8",
    "trimmed": "#64748b",
}
MARKS: dict[Role, str] = {
    "original": "s",
    "adapted": "D",
    "student": "o",
    "untrained": "v",
    "cut": "^",
    "scratch": "<",
    "trimmed": ">",
}


def picture(made: Summary) -> bytes:
    """A PNG: parameters (log) against the mean score of every entry, with the interval of its difference from `original`.

    Drawn without pyplot, so that no global state is touched and threads are safe.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    entries = sorted(made.entries, key=lambda entry: entry.parameters)
    for entry in entries:
        _point(axes, entry)
    sizes = [entry.parameters for entry in entries]
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 1.6, max(sizes) * 1.9)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} M")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value / 1e6:g} M" if str(f"{value:e}")[0] in "25" else "")
    axes.set_xlabel("parameters (log scale)")
    axes.set_ylabel("mean score over the benchmarks, points")
    axes.set_title(made.title, loc="left", fontsize=12)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _move_labels_apart(figure, axes)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _point(axes: "Axes", entry: ModelSummary) -> None:
    x, y, role = entry.parameters, 100 * entry.mean, entry.role
    if original := entry.against.get("original"):
        mean = original.retention.mean
        low, high = (100 * (mean.teacher + end) for end in mean.difference_interval)
        axes.plot([x, x], [low, high], color=COLOURS[role], linewidth=1.5, alpha=0.6, solid_capstyle="butt")
    axes.plot([x], [y], MARKS[role], color=COLOURS[role], markersize=9 if role == "student" else 7)
    weight = "bold" if role == "student" else "normal"
    axes.annotate(
        entry.name, (x, y), xytext=(8, 5), textcoords="offset points", fontsize=9, color=COLOURS[role], weight=weight
    )


def _move_labels_apart(figure: "Figure", axes: "Axes") -> None:
    """Move a label that lies on another one up until it is free, the lowest first."""
    figure.draw_without_rendering()
    placed: list[Bbox] = []
    for label in sorted(axes.texts, key=lambda text: text.get_window_extent().y0):
        box = label.get_window_extent()
        while other := next((one for one in placed if one.overlaps(box)), None):
            right, up = label.get_position()
            label.set_position((right, up + (other.y1 - box.y0 + 1) * 72 / figure.dpi))
            box = label.get_window_extent()
        placed.append(box)
