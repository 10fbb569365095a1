"""Progress of a step: a live display on a terminal, log lines elsewhere, one artifact per run in Prefect, the curve in MLflow."""

import contextlib
import logging
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from logging import Logger, LoggerAdapter

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from ndogo.core.errors import words_of
from ndogo.core.progress import Left, Report, about, silent
from ndogo.core.screen import live
from ndogo.tasks import notes
from ndogo.tasks.run import Run

EVERY = 10.0
"""Seconds between two signs of life of one kind of work; what is over sooner says nothing."""
_artifacts: dict[str, object] = {}
"""Prefect's id of the progress of each run, in this process; None where Prefect took it no longer."""


@contextlib.contextmanager
def reporter(run: Run, name: str) -> Iterator[Report]:
    """The report of one step. Training curves (`numbers` given) are noted in the run's record as they come."""
    console = _console()
    logger = get_run_logger()
    last = {"": time.monotonic()}
    left = Left()
    with live(console, f"{name}: ") if console else contextlib.nullcontext(silent) as shown:

        def report(doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
            shown(doing, done, total, numbers)
            seconds = left.seconds(doing, done, total)
            now = time.monotonic()
            if now - max(last[""], last.get(doing, 0.0)) < EVERY and not (doing in last and done == total):
                return
            last[doing] = now
            if console is None:
                logger.info("%s: %s", name, sentence(doing, done, total, numbers, seconds))
            if numbers:
                notes.note_curve(run, name, done, numbers)
            if total:
                _show(run, name, f"{name}, {doing}", done / total, logger)

        yield report


def sentence(
    doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None, seconds: float | None
) -> str:
    """A sign of life as a line: what, how far, the newest numbers, how long it still takes."""
    shown = "".join(f", {label} {value:.4g}" for label, value in (numbers or {}).items())
    still = f", {about(seconds)} left" if seconds is not None and done != total else ""
    return f"{doing} {f'{done:,} of {total:,}' if total else f'{done:,}'}{shown}{still}"


def share(run: Run, name: str, done: float) -> float:
    """How far a run is, in percent, when so much (0 to 1) of a step or `evaluate-<step>` is done: each counts as much."""
    order = [step.id for step in run.recipe.order()] + [f"evaluate-{step}" for step in run.evaluated()]
    return 100.0 * (order.index(name) + done) / len(order)


def _show(run: Run, name: str, about_it: str, done: float, logger: Logger | LoggerAdapter[Logger]) -> None:
    """In Prefect: one progress artifact per run, made by its first sign of life and moved by the others."""
    told = {"progress": share(run, name, done), "description": f"{run.name}: {about_it}"}
    try:
        if run.id not in _artifacts:
            _artifacts[run.id] = create_progress_artifact(key=f"{run.name}-progress", **told)  # type: ignore[arg-type]  # a number and a text
        elif _artifacts[run.id] is not None:
            update_progress_artifact(_artifacts[run.id], **told)  # type: ignore[arg-type]  # the id that it gave
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the server: a training does not end for its picture
        _artifacts[run.id] = None
        logger.warning("Prefect shows no progress any more: %s", words_of(error))


def _console() -> Console | None:
    """The terminal on which Prefect's log lines stand, so that these and the display keep out of each other's way.

    None where there is none, and in a worker process: several displays would write over each other.
    """
    if multiprocessing.parent_process() is not None:
        return None
    handlers = [h for name in ("prefect", "") for h in logging.getLogger(name).handlers]
    found = next((h.console for h in handlers if isinstance(h, PrefectConsoleHandler)), None)
    return found if found is not None and found.is_terminal else None
