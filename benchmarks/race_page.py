"""What a race shows: two tables and a picture, in the same layout for the pocket world and for real text."""

import io
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ndogo.evaluation import Evaluation, retention
from ndogo.evaluation.summary import MODES

Records = Mapping[str, Evaluation]
"""The evaluation by "language arm rate seed"."""


def tables(records: Records, first: str) -> str:
    """What each arm keeps of its teacher, and by how much the first is ahead of it; with 95% intervals."""
    languages, arms = languages_of(records), arms_of(records, first)
    return "\n".join(
        [
            teachers(records, languages),
            "",
            f"| % kept | {' | '.join(languages)} | mean |",
            "|---" * (len(languages) + 2) + "|",
            *(row(arm, [kept(records, language, arm) for language in languages], "{:.1f}") for arm in arms),
            "",
            f"| points that `{first}` is ahead | {' | '.join(languages)} | mean |",
            "|---" * (len(languages) + 2) + "|",
            *(
                row(arm, [ahead(records, language, first, arm) for language in languages], "{:+.1f}")
                for arm in arms
                if arm != first
            ),
        ]
    )


def teachers(records: Records, languages: Sequence[str]) -> str:
    """One line on what was made smaller."""
    told = []
    for language in languages:
        found = of_arm(records, language, "teacher").values()
        score = 100 * fmean(one.mean for record in found for one in record.benchmarks.values())
        sizes = {r.parameters for name, r in records.items() if name.split()[0] == language}
        told.append(f"{language} {score:.1f} ({max(sizes):,} to {min(sizes):,})")
    seeds = ", ".join(sorted({name.split()[3] for name in records}))
    names = sorted({name for record in records.values() for name in record.benchmarks})
    modes = ", ".join(sorted({MODES[record.settings.mode] for record in records.values()}))
    return (
        f"Adapted teachers, mean score of {', '.join(names)}, {modes} (parameters, teacher to student): {'; '.join(told)}. "
        f"Compression seeds {seeds}."
    )


def row(arm: str, cells: Sequence[tuple[float, float, float] | None], form: str) -> str:
    """A row of a table: value and interval per language, and the mean of the values."""
    shown = ["" if cell is None else "{} [{}, {}]".format(*map(form.format, cell)) for cell in cells]
    values = [cell[0] for cell in cells if cell is not None]
    return f"| `{arm}` | {' | '.join(shown)} | {form.format(fmean(values)) if values else ''} |"


def kept(records: Records, language: str, arm: str) -> tuple[float, float, float] | None:
    """What an arm keeps of its teacher's scores, in percent, with the interval; None where there is none."""
    found, teacher = paired(records, language, arm, "teacher")
    mean = retention(found, teacher).mean if found else None
    if mean is None:
        return None
    low, high = mean.retention_interval
    return 100 * mean.retention, 100 * low, 100 * high


def ahead(records: Records, language: str, first: str, arm: str) -> tuple[float, float, float] | None:
    """The points that the first arm is ahead of another, with the interval; None where one did not run or is not comparable."""
    ours, theirs = paired(records, language, first, arm)
    mean = retention(ours, theirs).mean if ours else None
    if mean is None:
        return None
    low, high = mean.difference_interval
    return 100 * mean.difference, 100 * low, 100 * high


def paired(records: Records, language: str, arm: str, other: str) -> tuple[list[Evaluation], list[Evaluation]]:
    """The evaluations of two arms with the compression seeds that both ran with."""
    ours, theirs = of_arm(records, language, arm), of_arm(records, language, other)
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def of_arm(records: Records, language: str, arm: str) -> dict[str, Evaluation]:
    """An arm's evaluations by compression seed."""
    return {name.split()[3]: record for name, record in records.items() if name.split()[:2] == [language, arm]}


def languages_of(records: Records) -> list[str]:
    """In the order in which they ran."""
    return list(dict.fromkeys(name.split()[0] for name in records))


def arms_of(records: Records, first: str) -> list[str]:
    """The first, then by what they keep on the mean."""
    arms = {name.split()[1] for name in records} - {"teacher"}
    means = {arm: fmean(c[0] for lang in languages_of(records) if (c := kept(records, lang, arm))) for arm in arms}
    return sorted(arms, key=lambda arm: (arm != first, -means[arm]))


def picture(records: Records, first: str, title: str) -> bytes:
    """A PNG: what each arm keeps, a dot with its interval per language, and a line at the mean."""
    arms, languages = arms_of(records, first), languages_of(records)
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(arms)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    step = 0.7 / len(languages)
    for at, arm in enumerate(arms):
        cells = [(number, cell) for number, name in enumerate(languages) if (cell := kept(records, name, arm))]
        for number, (value, low, high) in cells:
            height, colour = at - 0.35 + (number + 0.5) * step, f"C{number % 10}"
            axes.plot([low, high], [height, height], color=colour, alpha=0.5)
            axes.plot([value], [height], "o", color=colour, markersize=4, label=languages[number])
        axes.plot([fmean(value for _, (value, _, _) in cells)] * 2, [at - 0.38, at + 0.38], color="#334155")
    axes.set_yticks(range(len(arms)), arms)
    axes.invert_yaxis()
    axes.axvline(100, color="#94a3b8", linewidth=1, linestyle=":")
    axes.set_xlabel(
        "% of the adapted teacher's scores kept, at equal size, vocabulary, teacher and text; 95% intervals"
    )
    axes.set_title(title, loc="left", fontsize=12)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if len(once) > 1:
        figure.legend(once.values(), once.keys(), frameon=False, fontsize=8, loc="outside right upper")
    axes.grid(axis="x", alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
