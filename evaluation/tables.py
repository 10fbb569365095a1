"""A report's summary as text: the main table, for Markdown and for a terminal, and what was not judged."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ndogo.evaluation.records import Comparison, Spread
from ndogo.evaluation.summary import TEACHERS, ModelSummary, Role, Summary

if TYPE_CHECKING:
    from rich.table import Table


def main_table(made: Summary) -> tuple[list[str], list[list[str]]]:
    """Column heads and one row per model; scores in points, as mean ± standard deviation (seeds)."""
    teachers = [role for role in TEACHERS if any(role in entry.against for entry in made.entries)]
    heads = ["model", "role", "parameters", "MB fp32", "mean", *(f"retention of {role} [95 %]" for role in teachers)]
    heads += [f"{name} {benchmark.metric}" for name, benchmark in made.benchmarks.items()] + ["bits/byte"]
    return heads, [_row(entry, list(made.benchmarks), teachers) for entry in made.entries]


def _row(entry: ModelSummary, names: Sequence[str], teachers: Sequence[Role]) -> list[str]:
    cells = [entry.name, entry.role, f"{entry.parameters / 1e6:.2f} M", f"{entry.parameters * 4 / 1e6:.1f}"]
    cells.append(f"{100 * entry.mean:.1f}" if len(entry.scores) == len(names) else "-")
    compared = [entry.against.get(role) for role in teachers]
    cells += [retention_text(found.retention.mean) if found else "-" for found in compared]
    scores = [entry.scores.get(name) for name in names]
    cells += [score_text(score) if score else "-" for score in scores]
    quality = entry.language_model
    cells.append(f"{quality.bits_per_byte:.3f}" if quality else "-")
    return cells


def score_text(score: Spread) -> str:
    """Points, standard deviation and number of seeds."""
    spread = "" if score.std is None else f" ± {100 * score.std:.1f}"
    return f"{100 * score.mean:.1f}{spread} ({score.n_seeds})"


def retention_text(found: Comparison) -> str:
    """Retention in percent with its interval; `no difference` where the interval of the difference holds 0."""
    low, high = found.retention_interval
    text = f"{100 * found.retention:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{text} no difference" if found.verdict == "no difference" else text


def markdown(made: Summary) -> str:
    """The table and the sentences in Markdown."""
    heads, body = main_table(made)
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *body)]
    problems = [f"- {problem}" for problem in problems_of(made)]
    caption = "Points: mean ± sample standard deviation (number of seeds)."
    return "\n".join([*lines, "", caption, "", *(f"- {s}" for s in made.sentences), *problems, ""])


def problems_of(made: Summary) -> list[str]:
    """What was not judged, for which models, and why; one line each."""
    models: dict[tuple[str, str], list[str]] = {}
    for entry in made.entries:
        for name, why in entry.problems.items():
            models.setdefault((name, " ".join(why.split())), []).append(entry.name)
    return [f"{name} was not judged ({', '.join(found)}): {why}" for (name, why), found in models.items()]


def rich_table(made: Summary) -> "Table":
    """The table for a terminal, turned: one column per model, so that 80 characters hold it."""
    from rich.table import Table

    heads, body = main_table(made)
    table = Table(title=made.title, caption="points: mean ± standard deviation (seeds)")
    table.add_column(heads[0])
    for cells in body:
        table.add_column(cells[0], justify="right", overflow="fold")
    for head, *shown in list(zip(heads, *body, strict=True))[1:]:
        table.add_row(head, *shown)
    return table
