"""A sweep's recipes side by side: means over seeds with their intervals, a page, a picture, and a link to the runs in MLflow."""

import hashlib
import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

from ndogo.registry import model_registry
from ndogo.registry.bundles import Store, canonical
from ndogo.tasks import pictures, tracking
from ndogo.tasks.publication import TOY
from ndogo.tasks.run_record import RunRecord, SweepRow

PAGE, PICTURE = "sweep.md", "size-and-quality.png"


def rows(records: Sequence[RunRecord]) -> list[SweepRow]:
    """One row per language and recipe."""
    found: list[SweepRow] = []
    ordered = sorted(records, key=lambda r: (r.language, r.recipe))
    for (language, recipe), group in itertools.groupby(ordered, key=lambda r: (r.language, r.recipe)):
        same = list(group)
        first, *others = summaries = [record.summary for record in same]
        retained = [summary["retention"] for summary in summaries]
        own = first["retention_low"], first["retention_high"]
        found.append(
            SweepRow(
                language=language,
                recipe=recipe,
                seeds=len(same),
                scaled=any(record.scaled for record in same),
                params=int(first["params"]),
                compression_ratio=first["compression_ratio"],
                score=statistics.mean(s["score"] for s in summaries),
                retention=statistics.mean(retained),
                interval=interval(retained) if others else own,
            )
        )
    return [replace(row, front=on_the_front(row, found)) for row in found]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a mean over seeds."""
    from scipy.stats import t as student_t

    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def on_the_front(row: SweepRow, found: Sequence[SweepRow]) -> bool:
    """Whether nothing of the row's size or smaller retains more of the same language."""
    return not any(
        other.language == row.language and other.params <= row.params and other.retention > row.retention
        for other in found
    )


def markdown(found: Sequence[SweepRow]) -> str:
    """The rows as a table, narrow enough for a terminal."""
    lines = ["| language | recipe | parameters | smaller | score | retention |", "|---|---|---:|---:|---:|---:|"]
    for row in found:
        low, high = (100 * end for end in row.interval)
        name = f"**{row.recipe}**" if row.front else row.recipe
        lines.append(
            f"| {row.language} | {name} | {row.params:,} | {row.compression_ratio:.1f}x "
            f"| {100 * row.score:.1f} | {100 * row.retention:.1f}% [{low:.1f}, {high:.1f}] |"
        )
    seeds = found[0].seeds
    means = f"Means over {seeds} seeds, with 95% intervals." if seeds > 1 else "One seed, 95% intervals over test rows."
    toy = ["", TOY] if any(row.scaled for row in found) else []
    return "\n".join([*lines, "", f"{means} Bold: nothing of that size or smaller retains more.", *toy])


def with_failures(page: str, failed: Mapping[str, str]) -> str:
    """A page, and below it the runs that failed, each with why."""
    return "\n".join([page, *(f"\n- **{name} failed**: {why}" for name, why in failed.items())])


def publish(store: Store, records: Sequence[RunRecord], failed: Mapping[str, str]) -> tuple[list[SweepRow], Path]:
    """The rows, and the folder with their page and picture, which MLflow gets as well. The same sweep again replaces it."""
    found, name = rows(records), name_of(records)
    folder = store.folder / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PICTURE).write_bytes(pictures.front(found))
    side_by_side = f"[The runs side by side in MLflow]({link(records, model_registry.tracking_uri(store))})"
    page = [f"# {name}", with_failures(markdown(found), failed), f"![Size and quality]({PICTURE})", side_by_side]
    (folder / PAGE).write_text("\n\n".join(page) + "\n", encoding="utf-8")
    keys = ("language", "recipe", "profile", "seed")
    asked = {key: ",".join(sorted({str(getattr(record, key)) for record in records})) for key in keys}
    retained = {f"retention/{row.language}/{row.recipe}": row.retention for row in found}
    tracking.deliver_sweep(name, folder, asked, retained, store)
    return found, folder


def name_of(records: Sequence[RunRecord]) -> str:
    """A sweep's name, by all that was asked for."""
    asked = sorted(canonical([record.run | {"id": ""}, record.recipe_text]) for record in records)
    return f"sweep-{hashlib.sha256(canonical(asked).encode()).hexdigest()[:8]}"


def link(records: Sequence[RunRecord], server: str) -> str:
    """MLflow's own page that compares the runs of these records, of several experiments too."""
    sent = [(record.mlflow.experiment, record.mlflow.parent.run_id) for record in records if record.mlflow.parent]
    asked = {
        "runs": canonical([run for _, run in sent]),
        "workflowType": "machine_learning",
        "experiments": canonical(sorted({experiment for experiment, _ in sent})),
    }
    return f"{server if server.startswith('http') else model_registry.ADDRESS}/#/compare-runs?{urlencode(asked)}"
