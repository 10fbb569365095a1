"""Recipes side by side: means over seeds with their intervals, a page and a picture, and the runs side by side in MLflow."""

import hashlib
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ndogo.registry import model_registry
from ndogo.registry.bundles import Store, canonical
from ndogo.tasks import pictures, tracking
from ndogo.tasks.publication import TOY

PAGE, PICTURE = "sweep.md", "size-and-quality.png"
ADDRESS = "http://127.0.0.1:5000"
"""Where `make serve` puts MLflow; for links while no server runs."""

Row = Mapping[str, Any]


def rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per language and recipe: size, and what was kept as mean over seeds with its 95% interval.

    The interval is Student's over the seeds; for a single one it is its own, over test rows.
    """
    found: list[dict[str, Any]] = []
    ordered = sorted(records, key=lambda r: (r["language"], r["recipe"]))
    for (language, recipe), group in itertools.groupby(ordered, key=lambda r: (r["language"], r["recipe"])):
        same = list(group)
        summaries = [record["summary"] for record in same]
        kept = [summary["retention"] for summary in summaries]
        found.append(
            {
                "language": language,
                "recipe": recipe,
                "seeds": len(kept),
                "scaled": any(record["scaled"] for record in same),
                "params": summaries[0]["params"],
                "compression_ratio": summaries[0]["compression_ratio"],
                "score": statistics.mean(s["score"] for s in summaries),
                "retention": statistics.mean(kept),
                "interval": interval(kept)
                if len(kept) > 1
                else tuple(summaries[0][f"retention_{end}"] for end in ("low", "high")),
            }
        )
    return [row | {"front": on_the_front(row, found)} for row in found]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a mean over seeds."""
    from scipy.stats import t as student_t

    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def on_the_front(row: Row, found: Sequence[Row]) -> bool:
    """Whether nothing of the row's size or smaller keeps more of the same language."""
    return not any(
        other["language"] == row["language"]
        and other["params"] <= row["params"]
        and other["retention"] > row["retention"]
        for other in found
    )


def markdown(found: Sequence[Row]) -> str:
    """The rows as a table, narrow enough for a terminal."""
    lines = ["| language | recipe | parameters | smaller | score | kept |", "|---|---|---:|---:|---:|---:|"]
    for row in found:
        low, high = (100 * end for end in row["interval"])
        name = f"**{row['recipe']}**" if row["front"] else row["recipe"]
        lines.append(
            f"| {row['language']} | {name} | {row['params']:,} | {row['compression_ratio']:.1f}x "
            f"| {100 * row['score']:.1f} | {100 * row['retention']:.1f}% [{low:.1f}, {high:.1f}] |"
        )
    seeds = found[0]["seeds"]
    means = f"Means over {seeds} seeds, with 95% intervals." if seeds > 1 else "One seed, 95% intervals over test rows."
    toy = ["", TOY] if any(row["scaled"] for row in found) else []
    return "\n".join([*lines, "", f"{means} Bold: nothing of that size or smaller keeps more.", *toy])


def publish(records: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], Path]:
    """The rows, and the folder with their page and picture, which MLflow gets as well. The same sweep again replaces it."""
    found, name = rows(records), name_of(records)
    store = Store()
    folder = store.folder / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PICTURE).write_bytes(pictures.front(found))
    side_by_side = f"[The runs side by side in MLflow]({link(records, model_registry.tracking_uri())})"
    page = [f"# {name}", markdown(found), f"![Size and quality]({PICTURE})", side_by_side]
    (folder / PAGE).write_text("\n\n".join(page) + "\n", encoding="utf-8")
    keys = ("language", "recipe", "profile", "seed")
    asked = {key: ",".join(sorted({str(record[key]) for record in records})) for key in keys}
    kept = {f"retention/{row['language']}/{row['recipe']}": row["retention"] for row in found}
    tracking.deliver_sweep(name, folder, asked, kept, store)
    return found, folder


def name_of(records: Sequence[Mapping[str, Any]]) -> str:
    """A sweep's name, by all that was asked for."""
    asked = sorted(canonical([record["run"] | {"id": ""}, record["recipe_text"]]) for record in records)
    return f"sweep-{hashlib.sha256(canonical(asked).encode()).hexdigest()[:8]}"


def link(records: Sequence[Mapping[str, Any]], server: str) -> str:
    """MLflow's own page that compares the runs of these records, of several experiments too."""
    sent = [record["mlflow"] for record in records if "parent" in record.get("mlflow", {})]
    asked = {
        "runs": canonical([each["parent"]["run_id"] for each in sent]),
        "experiments": canonical(sorted({each["experiment"] for each in sent})),
    }
    return f"{server if server.startswith('http') else ADDRESS}/#/compare-runs?{urlencode(asked)}"
