"""The parts of docs/papers.md that are made from the kept answers, and its pictures: `python -m ndogo.papers_page` draws them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ndogo.core import markdown
from ndogo.papers import ROOT, Answer, Arm, Pair, kept
from ndogo.registry.recipes import sweep, sweep_names
from ndogo.steps.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = ROOT / "docs" / "img"
UNITS = {"bits_per_byte": "bits per byte", "score": "points"}
NOT_RUN = "not run"
TWO_STEP, TOKENS, LANGUAGES = "two-step", "two-step-tokens", "two-step-languages"
SIZED = ("half", "third", "sixth", "k40", "k20", "k15", "k10", "k5", "h564", "h456", "h312")
"""The arms of the two-step recipe that differ in size alone."""
PICTURES = {
    "papers-tokens": "thousand tokens of either distillation",
    "papers-bytes": "megabytes, fp32 with tokenizer",
    "papers-text": "megabytes of text in the language",
}
"""What each picture has on its axis."""
WIDE = 4
"""Ticks go by 1, 2 and 5 where the largest is so many times the smallest, else evenly."""
BLUE, ORANGE, GREY = "#1d4ed8", "#c2410c", "#94a3b8"


def shown(part: str) -> str:
    """A part of the page, as Markdown: `table`, `answers`, `steps` or `pictures`."""
    return {"table": _table, "answers": _answers, "steps": _steps, "pictures": _pictures}[part](kept())


def _table(found: dict[str, Answer]) -> str:
    rows = []
    for name in sweep_names():
        asked, answer = sweep(name), found.get(name)
        ours, verdict = (_ours(asked, answer), _verdict(answer)) if answer else (NOT_RUN, "-")
        rows.append([f"`{name}`", asked.question, asked.claim, ours, verdict])
    return markdown.table(["sweep", "question", "the paper's claim", "ours", "verdict"], rows)


def _pairs(answer: Answer) -> list[Pair]:
    return [*answer.pairs, *([answer.follows] if answer.follows else [])]


def _ours(asked: Sweep, answer: Answer) -> str:
    if answer.follows:
        return f"rank correlation {_signed(answer.follows, 2)} over {len(answer.text_mb)} languages"
    if not answer.pairs:
        kept_ = (
            f"{a.arm} keeps {100 * a.retention:.1f}% {_ends([100 * e for e in a.interval], 1)}" for a in answer.arms
        )
        return "; ".join(kept_)
    told = (f"{p.better} over {p.worse} {_signed(p, 3 if asked.by == 'bits_per_byte' else 1)}" for p in answer.pairs)
    return f"{'; '.join(told)} {UNITS[asked.by]}"


def _verdict(answer: Answer) -> str:
    verdicts = [pair.verdict for pair in _pairs(answer)]
    if not verdicts:
        return "no order is claimed"
    if len(set(verdicts)) == 1:
        return f"**{verdicts[0]}**"
    return ", ".join(f"**{one}** {verdicts.count(one)}" for one in sorted(set(verdicts), reverse=True))


def _answers(found: dict[str, Answer]) -> str:
    return "\n\n".join(_answer(name, found[name]) for name in sweep_names() if name in found)


def _answer(name: str, answer: Answer) -> str:
    rate = f", rate {answer.learning_rate:g}" if answer.learning_rate else ""
    seeds = f"{answer.seeds} seed{'s' if answer.seeds > 1 else ''}"
    run = (
        f"{', '.join(answer.languages)}; at most {answer.tokens:,} tokens a training{rate}; {seeds}; {answer.judged}; "
        f"{answer.minutes:g} minutes; {answer.day}, commit {answer.commit[:7]}."
    )
    many = len(answer.languages) > 1
    heads = [
        *(["language"] if many else []),
        "arm",
        "parameters",
        "MB",
        "score",
        "kept",
        "bits per byte",
        "against the teacher's",
    ]
    rows = []
    for arm in answer.arms:
        cells = [*([arm.language] if many else []), arm.arm, f"{arm.params / 1e6:.2f} M", f"{arm.size_mb:.1f}"]
        rows.append([*cells, *_measured(arm)])
    benchmarks = sorted({one for arm in answer.arms for one in arm.benchmarks})
    table = markdown.table(heads, rows, left=1 + many)
    return "\n".join([f"### `{name}`", "", run, f"Score: the mean of {', '.join(benchmarks)}.", "", table])


def _measured(arm: Arm) -> list[str]:
    kept_ = f"{100 * arm.retention:.1f}% {_ends([100 * end for end in arm.interval], 1)}"
    if arm.saved is None or arm.saved_interval is None:
        return [f"{100 * arm.score:.1f}", kept_, "-", "-"]
    low, high = arm.saved_interval
    return [
        f"{100 * arm.score:.1f}",
        kept_,
        f"{arm.bits_per_byte:.3f}",
        f"{-arm.saved:+.3f} {_ends([-high, -low], 3, '+')}",
    ]


def _steps(found: dict[str, Answer]) -> str:
    asked = [key for answer in found.values() for key in answer.keys]
    minutes = sum(answer.minutes for answer in found.values())
    return (
        f"The {len(found)} sweeps below asked for {len(asked)} step runs and made {len(set(asked))}, each once, for they share "
        f"one store. Together they took {minutes:.0f} minutes on one core that other work used too."
    )


def _signed(pair: Pair, digits: int) -> str:
    return f"{pair.difference:+.{digits}f} {_ends(pair.interval, digits, '+')}"


def _ends(ends: Sequence[float], digits: int, sign: str = "") -> str:
    return f"[{', '.join(f'{end:{sign}.{digits}f}' for end in ends)}]"


Points = Sequence[tuple[float, Arm, str]]
"""Where each arm stands on the axis, and the name beside it."""


def _pictures(found: dict[str, Answer]) -> str:
    drawn = _drawn(found)
    return "\n\n".join(f"![{PICTURES[name]}](img/{name}.png)" for name in drawn) or "None yet."


def draw() -> None:
    """Draw the pictures of what is kept: against trained tokens, against bytes, and against the teacher's text."""
    IMAGES.mkdir(exist_ok=True)
    for name, points in _drawn(kept()).items():
        _picture(name, points)


def _drawn(found: dict[str, Answer]) -> dict[str, Points]:
    """The pictures that there is something for, by name."""
    pictures: dict[str, Points] = {}
    if TOKENS in found:
        pictures["papers-tokens"] = [(arm.tokens / 1000, arm, "") for arm in found[TOKENS].arms]
    alike = [answer for name, answer in found.items() if sweep(name).base == TWO_STEP]
    sized = {arm.params: arm for answer in alike for arm in answer.arms if arm.arm in SIZED}
    if sized:
        pictures["papers-bytes"] = [(arm.size_mb, arm, arm.arm) for arm in sized.values()]
    if LANGUAGES in found:
        answer = found[LANGUAGES]
        pictures["papers-text"] = [(answer.text_mb[arm.language], arm, arm.language) for arm in answer.arms]
    return pictures


def _picture(name: str, points: Points) -> None:
    """Two panels above one another: retention, and bits per byte more than the teacher's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    figure = Figure(figsize=(4.4, 5.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for place, arm, named in points:
        _point(upper, place, 100 * arm.retention, [100 * end for end in arm.interval], named)
        if arm.saved is not None and arm.saved_interval is not None:
            ends = [-end for end in arm.saved_interval]
            _point(lower, place, -arm.saved, ends, named)
    upper.set_title("kept of the benchmarks, %", loc="left", fontsize=11)
    lower.set_title("bits per byte more than the teacher", loc="left", fontsize=11)
    upper.axhline(100, color=GREY, linewidth=0.8)
    lower.axhline(0, color=GREY, linewidth=0.8)
    lower.set_xscale("log")
    places = [place for place, *_ in points]
    wide = max(places) > WIDE * min(places)
    lower.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(5))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    lower.xaxis.set_minor_locator(NullLocator())
    lower.margins(x=0.12)
    lower.set_xlabel(f"{PICTURES[name]} (log scale)", fontsize=11)
    figure.savefig(IMAGES / f"{name}.png", metadata={"Software": None})


def _point(axes: "Axes", place: float, value: float, ends: Sequence[float], name: str) -> None:
    axes.plot([place] * 2, list(ends), color=BLUE, alpha=0.4)
    axes.plot([place], [value], "o", color=ORANGE, markersize=5)
    axes.annotate(name, (place, value), xytext=(4, 3), textcoords="offset points", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


if __name__ == "__main__":
    draw()
