"""Recipes side by side: means over seeds with their intervals."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per language and recipe: size, and what was kept as mean over seeds with its 95% interval (Student's t)."""
    found = []
    ordered = sorted(records, key=lambda r: (r["language"], r["recipe"]))
    for (language, recipe), group in itertools.groupby(ordered, key=lambda r: (r["language"], r["recipe"])):
        summaries = [record["summary"] for record in group]
        kept = [summary["retention"] for summary in summaries]
        found.append(
            {
                "language": language,
                "recipe": recipe,
                "seeds": len(kept),
                "params": summaries[0]["params"],
                "compression_ratio": summaries[0]["compression_ratio"],
                "score": statistics.mean(s["score"] for s in summaries),
                "retention": statistics.mean(kept),
                "interval": interval(kept),
            }
        )
    return found


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95% interval of a mean over seeds; None for a single one."""
    if len(values) < 2:
        return None
    from scipy.stats import t as student_t

    half = student_t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def markdown(found: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table."""
    lines = [
        "| language | recipe | seeds | parameters | smaller | score | kept | 95% interval |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in found:
        low_high = (
            f"{100 * row['interval'][0]:.1f} to {100 * row['interval'][1]:.1f}" if row["interval"] else "one seed"
        )
        lines.append(
            f"| {row['language']} | {row['recipe']} | {row['seeds']} | {row['params']:,} | {row['compression_ratio']:.1f}x "
            f"| {100 * row['score']:.1f} | {100 * row['retention']:.1f}% | {low_high} |"
        )
    return "\n".join(lines)
