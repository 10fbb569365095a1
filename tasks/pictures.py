"""Two pictures for people who choose: one run step by step, and all runs of a language by size and quality."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.recipes import ORIGINAL
from tasks.run import BASELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE, QUALITY = "#94a3b8", "#c2410c"


def stages(record: Mapping[str, Any]) -> bytes:
    """A PNG: parameters after every step as bars, and the mean score of the judged ones as a line."""
    figure, axes = _empty(record["name"])
    names = [name for name in record["steps"] if not name.startswith(BASELINE)]
    sizes = [record["steps"][name]["numbers"]["params"] / 1e6 for name in names]
    axes.bar(names, sizes, color=SIZE, width=0.6)
    axes.set_ylabel("million parameters")
    axes.bar_label(axes.containers[0], fmt="%.2f", fontsize=8, color="#475569", padding=2)
    judged = [(n, 100 * record["evaluations"][n]["metrics"]["score"]) for n in names if n in record["evaluations"]]
    right = axes.twinx()
    right.plot([n for n, _ in judged], [score for _, score in judged], "o-", color=QUALITY)
    right.set_ylabel("mean score over the benchmarks, points", color=QUALITY)
    right.set_ylim(0, 100)
    right.spines["top"].set_visible(False)
    axes.tick_params(axis="x", labelrotation=30)
    return _png(figure)


def landscape(records: Sequence[Mapping[str, Any]], language: str) -> bytes:
    """A PNG: every run's parameters (log) against what it kept, with its interval, a colour per recipe."""
    figure, axes = _empty(f"compress/{language}: what is kept at which size")
    recipes = sorted({record["recipe"] for record in records})
    for record in records:
        summary, colour = record["summary"], f"C{recipes.index(record['recipe']) % 10}"
        kept, low, high = (100 * summary[name] for name in ("retention", "retention_low", "retention_high"))
        axes.plot([summary["params"]] * 2, [low, high], color=colour, alpha=0.5)
        axes.plot([summary["params"]], [kept], "o", color=colour, label=record["recipe"])
    teachers = {record["steps"][ORIGINAL]["numbers"]["params"] for record in records}
    axes.plot(sorted(teachers), [100.0] * len(teachers), "s", color="#334155", label="teacher")
    axes.set_xscale("log")
    axes.set_xlabel("parameters (log scale)")
    axes.set_ylabel("% of the teacher's scores kept")
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(once.values(), once.keys(), frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    return _png(figure)


def _empty(title: str) -> "tuple[Figure, Any]":
    """A figure without pyplot: no global state, safe in threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12)
    axes.spines["top"].set_visible(False)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
