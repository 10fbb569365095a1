"""A refusal ends a run with its message; Prefect would log all frames of it, as of a fault of the program."""

import logging

from ndogo.core.errors import NdogoError

LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def without_frames(record: logging.LogRecord) -> bool:
    """Take the frames from the record of a refusal; every record passes."""
    if record.exc_info and isinstance(record.exc_info[1], NdogoError):
        record.msg, record.args = str(record.exc_info[1]), ()
        record.exc_info = record.exc_text = None
    return True


def install() -> None:
    """From now on in this process; once is enough."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(without_frames)  # the same filter is added only once
