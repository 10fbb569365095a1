"""Progress of a step in Prefect: log lines, a progress artifact, and the curve that goes to MLflow."""

import time
from collections.abc import Mapping

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from ndogo.core.progress import Report
from ndogo.tasks import notes
from ndogo.tasks.run import Run

EVERY = 10.0
"""Seconds between two signs of life of one kind of work; what is over sooner says nothing."""


def reporter(run: Run, name: str) -> Report:
    """The report of one step. Training curves (`numbers` given) are noted in the run's record as they come."""
    logger = get_run_logger()
    key = f"{run.name}-{name}".replace("_", "-")
    last = {"": time.monotonic()}
    artifacts: dict[str, object] = {}

    def report(doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if now - max(last[""], last.get(doing, 0.0)) < EVERY and not (doing in last and done == total):
            return
        last[doing] = now
        shown = "".join(f", {label} {value:.4g}" for label, value in (numbers or {}).items())
        logger.info("%s: %s %s%s", name, doing, f"{done:,} of {total:,}" if total else f"{done:,}", shown)
        if numbers:
            notes.note_curve(run, name, done, numbers)
        if not total:
            return
        share = 100.0 * done / total
        if doing in artifacts:
            update_progress_artifact(artifacts[doing], progress=share)  # type: ignore[arg-type]  # the id that it gave
        else:
            artifacts[doing] = create_progress_artifact(
                progress=share, key=key, description=f"{run.name}: {name}, {doing}"
            )

    return report
