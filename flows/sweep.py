"""The sweep: languages x recipes x seeds as one DAG, in which every shared step stands once."""

import contextlib
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from prefect import Flow, flow
from prefect.artifacts import create_markdown_artifact
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from ndogo.core.errors import NdogoError
from ndogo.core.threads import cores, threads
from ndogo.flows import links
from ndogo.flows.closing import close_derived
from ndogo.flows.compress import run_name
from ndogo.flows.form import Judging, Language, ProfileName, RecipeName, Seed, chosen
from ndogo.flows.submission import Submitted, outcome, submit
from ndogo.registry.bundles import open_store
from ndogo.tasks import comparison, forecast, notes, publication
from ndogo.tasks.run import Asked, Run, resolve
from ndogo.tasks.run_record import RunRecord, SweepRow
from ndogo.tasks.sharing import judged_alike

log = logging.getLogger("ndogo.sweep")


class Swept(NamedTuple):
    """What a sweep found."""

    rows: list[SweepRow]
    folder: Path
    """Page and picture."""
    failed: dict[str, str]
    """The runs that failed, by name, and why."""


P = ParamSpec("P")
R = TypeVar("R")


@flow(
    flow_run_name="sweep",
    task_runner=ThreadPoolTaskRunner(max_workers=1),  # type: ignore[arg-type]  # as in compress; --runner dask spreads it
    on_failure=[close_derived],
    on_crashed=[close_derived],
    on_cancellation=[close_derived],
    persist_result=False,
)
def sweep(  # noqa: PLR0913  # its parameters are the form in the UI
    languages: list[Language],
    recipes: list[RecipeName],
    seeds: Sequence[Seed] = (0, 1, 2),
    profile: ProfileName = "default",
    teacher: str = "",
    mode: Judging = "default",
    tokens: int | None = None,
) -> Swept:
    """Compare recipes: every language with every recipe and seed. One run that fails leaves the others their results.

    Args:
        languages: The languages.
        recipes: The recipes to compare.
        seeds: One run each.
        profile: Where teacher, text and benchmarks come from; default $NDOGO_PROFILE, else pocket.
        teacher: A model directory; default: the profile's own.
        mode: How models are judged; default: own where the recipe makes task models, else probe.
        tokens: Each training reads at most so many; the result is marked as scaled.

    """
    store = open_store()
    runs = [
        resolve(
            store,
            f"{flow_run.id}-{run_name(language, recipe, seed)}",
            Asked(language, recipe, chosen(profile), seed, teacher, chosen(mode), tokens),
        )
        for language, recipe, seed in itertools.product(languages, recipes, seeds)
    ]
    runs = judged_alike(runs)
    with contextlib.ExitStack() as stack:
        for run in runs:
            stack.enter_context(notes.opened(run, **links.to_flow_run()))
        for line in forecast.told(runs):
            get_run_logger().info(line)
        work = submit(runs, Submitted())
        # A conclusion times models in this process, and transformers cannot load two in one process at a time.
        wait([future for future in (*work.made.values(), *work.judged.values()) if isinstance(future, PrefectFuture)])
        records, failed = _conclude(runs, work)
    if not records:
        raise NdogoError(
            "No run of the sweep came to its end.",
            where="; ".join(failed),
            cure="; ".join(dict.fromkeys(failed.values())),
        )
    rows, folder = comparison.publish(store, records, failed)
    table = comparison.with_failures(comparison.markdown(rows), failed)
    create_markdown_artifact(table, key="sweep", description="Retention by size")
    swept = Swept(rows, folder, failed)
    told = f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}"
    if failed:
        return Completed(name="Partial", message=told, data=swept)  # type: ignore[return-value]  # Prefect hands on its data
    return swept


def _conclude(runs: Sequence[Run], work: Submitted) -> tuple[list[RunRecord], dict[str, str]]:
    """The records of the runs that came to their end, and why the others did not, by their names; their records are closed."""
    records, failed = [], {}
    for run in runs:
        try:
            bundle, keys = outcome(run, work)
            records.append(publication.conclude(run, bundle, publication.read(run.store, keys)))
            publication.tell(run, records[-1], "")
        except Exception as error:  # whatever ended it, the others' results stand
            log.exception("%s failed", run.name, exc_info=error)
            failed[run.name] = " ".join(str(error).split())
            notes.close(run.store, run.id, "FAILED")
    return records, failed


def dask(flow: Flow[P, R], address: str | None) -> Flow[P, R]:
    """The same flow on Dask, each step in a process of its own: a local cluster, or the one at an address.

    :raises NdogoError: the `dask` extra is not installed.
    """
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise NdogoError(
            "prefect-dask is not installed.", where="--runner dask", cure="pip install 'ndogo[dask]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.ERROR)  # its nanny warns of every worker that it has to stop
    runner = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=_local_cluster())
    return flow.with_options(task_runner=runner)  # type: ignore[arg-type]  # it is one, of futures of its own


def _local_cluster() -> dict[str, object]:
    """As many workers as the cores hold steps.

    Without a memory limit: Dask would kill a training that needs more than its share, and start it again for ever.
    """
    each = threads()
    workers = max(1, cores() // each)
    log.info("a local Dask cluster: workers %d, threads of each step %d (OMP_NUM_THREADS changes that)", workers, each)
    return {
        "n_workers": workers,
        "threads_per_worker": 1,
        "memory_limit": 0,
        "dashboard_address": None,
        "env": {"OMP_NUM_THREADS": str(each)},  # Dask's own default is 1, whatever the other runners use
    }
