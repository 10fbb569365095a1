"""One run in this process, while no server of the user's runs: a temporary Prefect server, gone at the end."""

import contextlib
import contextvars
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


@contextlib.contextmanager
def without_server(*, shared: bool = False) -> Iterator[None]:
    """Prefect's own files lie beside the store, and unless PREFECT_API_URL names a server a temporary one is used.

    It takes seconds to start; meanwhile this process imports what the steps need. `shared`: it is named to all processes, else
    every worker would start one of its own.
    """
    from ndogo.registry.bundles import home

    folder = home() / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(folder))
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault(
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"
    )  # a busy laptop is slow, not broken
    logging.getLogger("ndogo").setLevel(logging.INFO)
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()  # Prefect stops it when this process ends
    with contextlib.ExitStack() as stack:
        stack.enter_context(temporary_settings({PREFECT_API_URL: None, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))
        with ThreadPoolExecutor(1) as aside:
            started = aside.submit(contextvars.copy_context().run, server.start)
            _import_what_steps_need()
        started.result()
        if shared:
            stack.enter_context(temporary_settings({PREFECT_API_URL: server.api_url}))
        yield


def _import_what_steps_need() -> None:
    """And bring MLflow's database up: seconds that would be lost one after the other."""
    import transformers.models.xlm_roberta.modeling_xlm_roberta  # noqa: F401  # only to be loaded, with torch

    from ndogo.registry.bundles import open_store
    from ndogo.tasks import tracking

    tracking.prepare(open_store())
