"""A report's summary as text: the main table, for Markdown and for a terminal, and what was not judged."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ndogo.core.download import SIZE_TYPE
from ndogo.core.markdown import table
from ndogo.evaluation.records import Comparison, Spread
from ndogo.evaluation.summary import MODES, NOT_COMPARABLE, TEACHERS, VECTOR_NAMES, ModelSummary, Role, Summary

if TYPE_CHECKING:
    from rich.table import Table


SMALLER = "smaller (than trimmed teacher)"


def main_table(made: Summary) -> tuple[list[str], list[list[str]]]:
    """Column heads and one row per model; scores in points, as mean ± standard deviation (seeds)."""
    teachers = [role for role in TEACHERS if any(role in entry.against for entry in made.entries)]
    heads = ["model", "role", "parameters", SMALLER, f"MB {SIZE_TYPE}", f"mean, {MODES[made.settings.mode]}"]
    heads += [*(f"retention of {role} [95 %]" for role in teachers), "gap closed"]
    heads += [f"{name} {benchmark.metric}" for name, benchmark in made.benchmarks.items()] + ["bits/byte"]
    return heads, [_row(entry, list(made.benchmarks), teachers) for entry in made.entries]


def _row(entry: ModelSummary, names: Sequence[str], teachers: Sequence[Role]) -> list[str]:
    size = "-" if entry.size_mb is None else f"{entry.size_mb:.1f}"
    cells = [entry.name, entry.role, f"{entry.parameters / 1e6:.2f} M", ratio_text(entry), size]
    cells.append(NOT_COMPARABLE if entry.mean is None else f"{100 * entry.mean:.1f}")
    compared = [entry.against.get(role) for role in teachers]
    cells += [retention_text(found.retention.mean) if found else "-" for found in compared]
    not_measured = "not measured" if entry.role == "student" and compared else "-"
    cells.append(f"{entry.gap.closed:.0%} above {entry.gap.floor}" if entry.gap else not_measured)
    scores = [entry.scores.get(name) for name in names]
    cells += [score_text(score) if score else "-" for score in scores]
    quality = entry.language_model
    cells.append(f"{quality.bits_per_byte:.3f}" if quality else "-")
    return cells


def ratio_text(entry: ModelSummary) -> str:
    """How many times fewer parameters than the teacher, and than the teacher trimmed to the same rows."""
    if entry.ratio is None or entry.role == "original":
        return "-"
    trimmed = "" if entry.ratio_trimmed is None else f" ({entry.ratio_trimmed:.1f}x)"
    return f"{entry.ratio:.1f}x{trimmed}"


def vector_table(made: Summary) -> tuple[list[str], list[list[str]]]:
    """Column heads and one row per model whose sentence vectors were judged; no rows where none were."""
    judged = [entry for entry in made.entries if entry.vectors]
    names = list(dict.fromkeys(name for entry in judged for name in entry.vectors))
    others = list(dict.fromkeys((n, o) for entry in judged for n in entry.vectors for o in entry.vectors[n].others))
    heads = ["model", "role", *(cell for n in names for cell in (VECTOR_NAMES.get(n, n), "of the teacher's [95 %]"))]
    return [*heads, *(other.replace("_", " ") for _, other in others)], [_vectors(e, names, others) for e in judged]


def _vectors(entry: ModelSummary, names: Sequence[str], others: Sequence[tuple[str, str]]) -> list[str]:
    cells, original = [entry.name, entry.role], entry.against.get("original")
    for name in names:
        found = entry.vectors.get(name)
        compared = original.retention.vectors.get(name) if original else None
        cells += [f"{100 * found.mean:.1f}" if found else "-", retention_text(compared) if compared else "-"]
    more = [entry.vectors[name].others.get(other) if name in entry.vectors else None for name, other in others]
    return cells + [f"{100 * found.mean:.1f}" if found else "-" for found in more]


VECTORS_CAPTION = (
    "Sentence vectors, in percent. Translation found: of each line, whether its translation is the nearest among all of the "
    "teacher's vectors (into teacher), and the other way round (back). Hubness: share of lines whose nearest is one of the most "
    "popular hundredth, 1 where all is well. Teacher's ten nearest: how many are among the model's ten; Spearman: over the "
    "whole ranking. Nearest topic: whether the nearest training row has the row's topic."
)


def score_text(score: Spread) -> str:
    """Points, standard deviation and number of seeds."""
    spread = "" if score.std is None else f" ± {100 * score.std:.1f}"
    return f"{100 * score.mean:.1f}{spread} ({score.n_seeds})"


def retention_text(found: Comparison | None) -> str:
    """Retention in percent with its interval; `no difference` where the interval of the difference holds 0."""
    if found is None:
        return NOT_COMPARABLE
    low, high = found.retention_interval
    text = f"{100 * found.retention:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{text} no difference" if found.verdict == "no difference" else text


def markdown(made: Summary) -> str:
    """The table and the sentences in Markdown."""
    heads, body = main_table(made)
    lines = [table(heads, body)]
    problems = [f"- {problem}" for problem in problems_of(made)]
    vector_heads, vector_body = vector_table(made)
    if vector_body:
        lines += ["", table(vector_heads, vector_body), "", VECTORS_CAPTION]
    caption = f"Points: mean ± sample standard deviation (number of seeds), {caption_of(made)}"
    return "\n".join([*lines, "", caption, "", *(f"- {s}" for s in made.sentences), *problems, ""])


def caption_of(made: Summary) -> str:
    """How the scores were made, what is in the mean, and what the intervals cover."""
    covered = {other.retention.covers for entry in made.entries for other in entry.against.values()}
    intervals = f" Intervals cover {', '.join(sorted(covered))}." if covered else ""
    return f"{MODES[made.settings.mode]}. The mean is over {', '.join(made.benchmarks)}.{intervals}"


def problems_of(made: Summary) -> list[str]:
    """What was not judged, for which models, and why, and what was odd in judging; one line each."""
    models: dict[tuple[str, str], list[str]] = {}
    for entry in made.entries:
        for name, why in entry.problems.items():
            models.setdefault((name, " ".join(why.split())), []).append(entry.name)
    told = [f"{name} was not judged ({', '.join(found)}): {why}" for (name, why), found in models.items()]
    return told + [f"{entry.name}, {remark}" for entry in made.entries for remark in entry.remarks]


def rich_table(made: Summary) -> "Table":
    """The table for a terminal, turned: one column per model, so that 80 characters hold it."""
    from rich.table import Table

    heads, body = main_table(made)
    shown = Table(title=made.title, caption=f"points: mean ± standard deviation (seeds), {caption_of(made)}")
    shown.add_column(heads[0])
    for cells in body:
        shown.add_column(cells[0], justify="right", overflow="fold")
    for head, *cells in list(zip(heads, *body, strict=True))[1:]:
        shown.add_row(head, *cells)
    return shown
