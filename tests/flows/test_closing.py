"""What a flow run that ended badly leaves is closed: its own run, or those that a sweep derived from it."""

import contextlib
import uuid
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled

from ndogo.flows.closing import close_derived
from ndogo.flows.sweep import sweep
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks import notes
from ndogo.tasks.run import Run
from ndogo.tasks.run_record import RUNS, RunRecord
from tests import tiny


@pytest.fixture
def run(pico_model, tmp_path: Path) -> Run:
    text, _ = tiny.write(tmp_path / "tiny")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(pico_model("xlmr"))))
    return tiny.run_of(parse_recipe("name: r\nsteps:\n  - truncate: {layers: 1}"), pico_model("xlmr"))


def test_a_sweep_closes_the_runs_it_left_open_and_no_others(run: Run):
    flow_run = FlowRun.model_construct(id=uuid.uuid4())
    left, finished = (run.model_copy(update={"id": f"{flow_run.id}-{name}"}) for name in ("left", "finished"))
    other = run.model_copy(update={"id": f"{uuid.uuid4()}-left"})
    with contextlib.ExitStack() as stack:
        for one in (left, finished, other):
            stack.enter_context(notes.opened(one))
        notes.finish(finished, "COMPLETED", {"params": 1.0})
        close_derived(sweep, flow_run, Cancelled())
    states = {record.id: record.state for record in run.store.read_records(RUNS, RunRecord)}
    assert states == {left.id: "FAILED", finished.id: "COMPLETED", other.id: "RUNNING"}
    assert notes.of_flow_run(run.store, str(flow_run.id)) == [finished.id, left.id]
    hooks = (sweep.on_failure_hooks, sweep.on_crashed_hooks, sweep.on_cancellation_hooks)
    assert all(close_derived in of_one for of_one in hooks)
