"""What was measured, for a person: one table, one JSON, one picture, one page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ndogo.core.errors import NdogoError
from ndogo.evaluation.retention import retention

if TYPE_CHECKING:
    from rich.table import Table

Role = Literal["original", "adapted", "student", "untrained", "cut", "scratch", "trimmed"]

ROLES: dict[Role, str] = {
    "original": "the untouched teacher",
    "adapted": "the teacher adapted to the language",
    "student": "the recipe's result",
    "untrained": "the same shape, untrained",
    "cut": "the same shape, cut but not distilled",
    "scratch": "the same shape from scratch, masked LM on the same tokens",
    "trimmed": "the teacher with trimming alone",
}
TEACHERS: tuple[Role, ...] = ("original", "adapted")
BASELINES: tuple[Role, ...] = ("untrained", "cut", "scratch", "trimmed")
METRIC_NAMES = {"macro_f1": "macro-F1", "entity_f1": "entity F1", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Entry:
    """One model of a report: what it is, its evaluation, and what else was measured."""

    name: str
    role: Role
    record: Mapping[str, Any]
    """From `evaluate`."""
    cost: Mapping[str, Any] | None = None
    """The model's own part (`student` or `teacher`) of what `cost` gave."""
    language_model: Mapping[str, Any] | None = None
    """From `language_model_quality`."""
    parameters: int | None = None
    """Of the whole model, where the caller counted them; else those of `cost`, else of the bare encoder that was judged."""


def summary(title: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """Everything that the table, the picture and the page show; JSON-able.

    Each entry is compared with `original` (and `adapted`, where there is one), each student also with every baseline;
    `sentences` says in words what came out, first of all where a baseline was not beaten.

    :raises NdogoError: no entry, a name twice, or evaluations that cannot be compared.
    """
    names = [entry.name for entry in entries]
    if not entries or len(set(names)) != len(names):
        raise NdogoError("A report needs at least one entry, and each name once.", where=", ".join(names))
    made = [_summed(entry, entries) for entry in entries]
    first = entries[0].record
    return {
        "title": title,
        "settings": first["settings"],
        "versions": first["versions"],
        "benchmarks": {
            name: {"metric": METRIC_NAMES[b["metric"]], "rows": b["rows"], "notes": b["notes"]}
            for entry in reversed(entries)
            for name, b in entry.record["benchmarks"].items()
        },
        "entries": made,
        "sentences": [sentence for entry in made for sentence in _sentences(entry)],
    }


def _summed(entry: Entry, entries: Sequence[Entry]) -> dict[str, Any]:
    scores = {
        name: {key: b[key] for key in ("mean", "std", "n_seeds", "scores", "others", "chosen")}
        for name, b in entry.record["benchmarks"].items()
    }
    against = {
        other.role: {"name": other.name, "size": _size(other), **retention(entry.record, other.record)}
        for other in entries
        if other is not entry and _compared(entry.role, other.role)
    }
    return {
        "name": entry.name,
        "role": entry.role,
        "is": ROLES[entry.role],
        "parameters": _size(entry),
        "scores": scores,
        "mean": sum(s["mean"] for s in scores.values()) / len(scores),
        "against": against,
        "cost": entry.cost,
        "language_model": entry.language_model,
        "problems": dict(entry.record["problems"]),
    }


def _size(entry: Entry) -> int:
    counted = entry.cost["parameters"]["total"] if entry.cost else entry.record["parameters"]
    return counted if entry.parameters is None else entry.parameters


def _compared(role: Role, other: Role) -> bool:
    if other in BASELINES:
        return role == "student"
    return other == "original" or (other == "adapted" and role != "original")


def _sentences(entry: Mapping[str, Any]) -> list[str]:
    if entry["role"] != "student":
        return []
    told = []
    for role in BASELINES:
        if found := entry["against"].get(role):
            told.append((found["mean"]["verdict"] == "better", _beaten(entry, ROLES[role], found)))
    if original := entry["against"].get("original"):
        low, high = original["mean"]["retention_interval"]
        told.append(
            (
                False,
                f"{entry['name']} keeps {original['mean']['retention']:.1%} [{low:.1%}, {high:.1%}] of {original['name']} "
                f"with {original['size'] / entry['parameters']:.1f} times fewer parameters.",
            )
        )
    return [sentence for _, sentence in sorted(told, key=lambda pair: pair[0])]


def _beaten(entry: Mapping[str, Any], baseline: str, found: Mapping[str, Any]) -> str:
    mean = found["mean"]
    by = f"{signed(mean['difference'])} points [{', '.join(map(signed, mean['difference_interval']))}]"
    if mean["verdict"] == "better":
        return f"{entry['name']} beats {baseline}: {by}."
    size = found["size"] / entry["parameters"]
    how = "no difference" if mean["verdict"] == "no difference" else "worse"
    return f"{entry['name']} does NOT beat {baseline} ({found['name']}, {size:.1f} times its size): {how}, {by}."


def rows(made: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The table as text: column heads and one row per entry; scores in points, as mean ± standard deviation (seeds)."""
    teachers = [role for role in TEACHERS if any(role in entry["against"] for entry in made["entries"])]
    heads = ["model", "role", "parameters", "MB fp32", "mean", *(f"kept of {role} [95 %]" for role in teachers)]
    heads += [f"{name} {b['metric']}" for name, b in made["benchmarks"].items()] + ["bits/byte"]
    return heads, [_row(entry, list(made["benchmarks"]), teachers) for entry in made["entries"]]


def _row(entry: Mapping[str, Any], names: Sequence[str], teachers: Sequence[Role]) -> list[str]:
    cells = [entry["name"], entry["role"], f"{entry['parameters'] / 1e6:.2f} M", f"{entry['parameters'] * 4 / 1e6:.1f}"]
    cells.append(f"{100 * entry['mean']:.1f}" if len(entry["scores"]) == len(names) else "-")
    compared = [entry["against"].get(role) for role in teachers]
    cells += [kept_text(found["mean"]) if found else "-" for found in compared]
    scores = [entry["scores"].get(name) for name in names]
    cells += [score_text(score) if score else "-" for score in scores]
    quality = entry["language_model"]
    cells.append(f"{quality['bits_per_byte']:.3f}" if quality else "-")
    return cells


def score_text(score: Mapping[str, Any]) -> str:
    """Points, standard deviation and number of seeds."""
    spread = "" if score["std"] is None else f" ± {100 * score['std']:.1f}"
    return f"{100 * score['mean']:.1f}{spread} ({score['n_seeds']})"


def kept_text(found: Mapping[str, Any]) -> str:
    """Retention in percent with its interval; `no difference` where the interval of the difference holds 0."""
    low, high = found["retention_interval"]
    text = f"{100 * found['retention']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{text} no difference" if found["verdict"] == "no difference" else text


def signed(difference: float) -> str:
    """A difference in points."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # + 0.0 turns -0.0 into 0.0


def markdown(made: Mapping[str, Any]) -> str:
    """The table and the sentences in Markdown."""
    heads, body = rows(made)
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *body)]
    problems = [f"- {problem}" for problem in problems_of(made)]
    caption = "Points: mean ± sample standard deviation (number of seeds)."
    return "\n".join([*lines, "", caption, "", *(f"- {s}" for s in made["sentences"]), *problems, ""])


def problems_of(made: Mapping[str, Any]) -> list[str]:
    """What was not judged, for which models, and why; one line each."""
    models: dict[tuple[str, str], list[str]] = {}
    for entry in made["entries"]:
        for name, why in entry["problems"].items():
            models.setdefault((name, " ".join(why.split())), []).append(entry["name"])
    return [f"{name} was not judged ({', '.join(found)}): {why}" for (name, why), found in models.items()]


def rich_table(made: Mapping[str, Any]) -> "Table":
    """The table for a terminal, turned: one column per model, so that 80 characters hold it."""
    from rich.table import Table

    heads, body = rows(made)
    table = Table(title=made["title"], caption="points: mean ± standard deviation (seeds)")
    table.add_column(heads[0])
    for cells in body:
        table.add_column(cells[0], justify="right", overflow="fold")
    for head, *shown in list(zip(heads, *body, strict=True))[1:]:
        table.add_row(head, *shown)
    return table


def write_report(title: str, entries: Sequence[Entry], out: Path) -> dict[str, Any]:
    """Write report.json, report.md, report.png and report.html (with the picture inside) into `out`; return the summary."""
    from ndogo.evaluation.page import page
    from ndogo.evaluation.picture import picture

    made = summary(title, entries)
    image = picture(made)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(made, indent=1, ensure_ascii=False), encoding="utf-8")
    (out / "report.md").write_text(markdown(made), encoding="utf-8")
    (out / "report.png").write_bytes(image)
    (out / "report.html").write_text(page(made, image), encoding="utf-8")
    return made
