"""Size against quality, as a PNG."""

import io
from typing import TYPE_CHECKING

from ndogo.evaluation.summary import MODES, ModelSummary, Role, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

LOOKS: dict[Role, tuple[str, str]] = {
    "original": ("#334155", "s"),
    "adapted": ("#0f766e", "D"),
    "student": ("#c2410c", "o"),
    "untrained": ("#94a3b8", "v"),
    "cut": ("#94a3b8", "^"),
    "scratch": ("#94a3b8", "<"),
    "trimmed": ("#64748b", ">"),
    "static": ("#94a3b8", "X"),
    "static-taught": ("#475569", "X"),
    "trimmed-int8": ("#64748b", "P"),
}
"""Colour and mark of each role."""


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
        if entry.mean is not None:
            _point(axes, entry, entry.mean)
    sizes = [entry.parameters for entry in entries]
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 1.6, max(sizes) * 1.9)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} M")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value / 1e6:g} M" if str(f"{value:e}")[0] in "25" else "")
    axes.set_xlabel("parameters (log scale)")
    axes.set_ylabel(f"mean of {', '.join(made.benchmarks)}, points, {MODES[made.settings.mode]}")
    axes.set_title(made.title, loc="left", fontsize=12)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _move_labels_apart(figure, axes)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _point(axes: "Axes", entry: ModelSummary, score: float) -> None:
    x, y, (colour, mark) = entry.parameters, 100 * score, LOOKS[entry.role]
    original = entry.against.get("original")
    if original and (mean := original.retention.mean):
        low, high = (100 * (mean.teacher + end) for end in mean.difference_interval)
        axes.plot([x, x], [low, high], color=colour, linewidth=1.5, alpha=0.6, solid_capstyle="butt")
    size, weight = (9, "bold") if entry.role == "student" else (7, "normal")
    axes.plot([x], [y], mark, color=colour, markersize=size)
    axes.annotate(
        entry.name, (x, y), xytext=(8, 5), textcoords="offset points", fontsize=9, color=colour, weight=weight
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
