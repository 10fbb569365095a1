"""Pictures for people who choose: one run step by step, all runs of a language by size and quality, and a sweep's front."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ndogo.steps.recipe import ORIGINAL
from ndogo.tasks.run import BASELINE
from ndogo.tasks.run_record import RunRecord, SweepRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE, QUALITY = "#94a3b8", "#c2410c"


def stages(record: RunRecord) -> bytes:
    """A PNG: parameters after every step as bars, and the mean score of the judged ones as a line."""
    figure, axes = _empty(record.name)
    names = [name for name in record.steps if not name.startswith(BASELINE)]
    sizes = [record.sizes(name).params / 1e6 for name in names]
    bars = axes.bar(names, sizes, color=SIZE, width=0.6)
    axes.set_ylabel("million parameters")
    axes.bar_label(bars, fmt="%.2f", fontsize=8, color="#475569", padding=2)
    every = {name for note in record.evaluations.values() for name in note.benchmarks}
    notes = [(n, record.evaluations[n]) for n in names if n in record.evaluations]
    judged = [(n, 100 * note.metrics["score"]) for n, note in notes if set(note.benchmarks) == every]
    right = axes.twinx()
    right.plot([n for n, _ in judged], [score for _, score in judged], "o-", color=QUALITY)
    right.set_ylabel("mean score over the benchmarks, points", color=QUALITY)
    right.set_ylim(0, 100)
    right.spines["top"].set_visible(False)
    axes.tick_params(axis="x", labelrotation=30)
    return _png(figure)


def landscape(records: Sequence[RunRecord], language: str) -> bytes:
    """A PNG: every run's parameters (log) against its retention, with its interval, a colour per recipe."""
    figure, axes = _empty(f"compress/{language}: retention by size")
    recipes = sorted({record.recipe for record in records})
    for record in records:
        if "retention" not in record.summary:  # not comparable
            continue
        summary, colour = record.summary, f"C{recipes.index(record.recipe) % 10}"
        retained, low, high = (100 * summary[name] for name in ("retention", "retention_low", "retention_high"))
        axes.plot([summary["params"]] * 2, [low, high], color=colour, alpha=0.5)
        axes.plot([summary["params"]], [retained], "o", color=colour, label=record.recipe)
    teachers = {record.sizes(ORIGINAL).params for record in records}
    axes.plot(sorted(teachers), [100.0] * len(teachers), "s", color="#334155", label="teacher")
    axes.set_xscale("log")
    axes.set_xlabel("parameters (log scale)")
    axes.set_ylabel("retention: % of the teacher's scores")
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(once.values(), once.keys(), frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    return _png(figure)


def front(rows: Sequence[SweepRow]) -> bytes:
    """A PNG: what every recipe retains at which size, a panel per language, and a line along those that nothing beats."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    languages, recipes = sorted({row.language for row in rows}), sorted({row.recipe for row in rows})
    across = min(3, len(languages))
    down = -(-len(languages) // across)
    sizes = sorted({row.params for row in rows})
    ticks = FixedLocator(sizes) if len(sizes) == 1 else LogLocator(subs=(1.0, 2.0, 5.0))
    figure = _figure(4.2 * across + 2, 3.6 * down)
    panels = list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)
    shown = {}
    for axes, language in zip(panels[: len(languages)], languages, strict=True):
        here = [row for row in rows if row.language == language]
        for row in here:
            if row.retention is None or row.interval is None:
                continue
            at = recipes.index(row.recipe)
            equal = [other.recipe for other in here if other.params == row.params]
            aside = equal.index(row.recipe) - (len(equal) - 1) / 2  # recipes of one size stand side by side
            place = row.params * 1.02**aside
            look = {"color": f"C{at % 10}", "marker": "osD^v"[at // 10 % 5]}
            axes.plot([place] * 2, [100 * end for end in row.interval], color=look["color"], alpha=0.5)
            shown[row.recipe] = axes.plot([place], [100 * row.retention], linestyle="", **look)[0]
        best = sorted((row.params, 100 * row.retention) for row in here if row.front and row.retention is not None)
        if best:
            axes.plot(*zip(*best, strict=True), color="#334155", linewidth=0.8, drawstyle="steps-post", zorder=0)
        axes.set_title(language, loc="left", fontsize=11)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:.3g}M"))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(languages) :]:
        axes.set_axis_off()
    figure.supxlabel("parameters (log scale; equal sizes stand side by side)", fontsize=10)
    figure.supylabel("retention: % of the teacher's scores", fontsize=10)
    named = {name: shown[name] for name in recipes if name in shown}
    figure.legend(named.values(), named.keys(), frameon=False, fontsize=8, loc="outside right upper")
    return _png(figure)


def _empty(title: str) -> "tuple[Figure, Axes]":
    """A figure with one set of axes."""
    figure = _figure(8, 4.8)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=12)
    axes.spines["top"].set_visible(False)
    return figure, axes


def _figure(width: float, height: float) -> "Figure":
    """A figure without pyplot: no global state, safe in threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: "Figure") -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
