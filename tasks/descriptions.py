"""What a run in MLflow says of itself: what it is, from which recipe, what came of it, and where it ran."""

from collections.abc import Mapping

from ndogo.core.download import SIZE_TYPE
from ndogo.evaluation.summary import MODES
from ndogo.registry.experiment_view import NOTE
from ndogo.tasks.run_record import RunRecord, mode_of

PREFECT = "prefect"
"""The tag with the address of the flow run's page."""


def described(record: RunRecord) -> dict[str, str]:
    """The tag that MLflow shows as a run's description."""
    parts = [
        f"A small model of {record.language} by the recipe **{record.recipe}**, seed {record.seed}, {record.profile} profile."
    ]
    if record.repeats:
        parts.append(f"Nothing new: all is as in run {record.repeats}.")
    parts.append(result(record))
    parts.append(record.notice)
    if address := record.tags.get(PREFECT):
        parts.append(f"[The run in Prefect]({address})")
    return {NOTE: "\n\n".join(part for part in parts if part)}


def quality_first(summary: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a run, retention before all others: of them MLflow's page that compares runs shows the first."""
    return dict(sorted(summary.items(), key=lambda number: number[0] != "retention"))


def result(record: RunRecord) -> str:
    """What came of a run, in a sentence."""
    summary = record.summary
    if record.state not in ("COMPLETED", "REFUSED") or not summary:
        return "" if record.state == "RUNNING" else f"It ended as {record.state.lower()}, without a result."
    told = f"{summary['params'] / 1e6:.2f} million parameters" if "params" in summary else "A model"
    if "size_mb" in summary and "compression_ratio" in summary:
        size, ratio = f"{summary['size_mb']:.1f} MB as {SIZE_TYPE}", summary["compression_ratio"]
        told += f" ({size}, {ratio:.1f} times smaller than the teacher)"
    if "retention" in summary:
        told += f" with {100 * summary['retention']:.1f}% of the teacher's scores, {MODES[mode_of(record)]}"
    if "retention_low" in summary:
        told += f" (95% interval {100 * summary['retention_low']:.1f} to {100 * summary['retention_high']:.1f})"
    refused = " The gate refused it: the champion stays." if record.state == "REFUSED" else ""
    return f"{told}.{refused}"
