"""The record of a run: one JSON in the store that says what happened, from which MLflow is brought up to date.

Every note goes to the record first and is then delivered. A server that does not answer costs nothing: what is missing
there is delivered by the next note, or by `ndogo sync`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ndogo.core.errors import NdogoError
from ndogo.core.frozen import Frozen
from ndogo.registry.bundles import Bundle, Store
from ndogo.registry.files import lock_file
from ndogo.registry.integrity import file_hash
from ndogo.steps.recipe import ORIGINAL
from ndogo.steps.step import Step
from ndogo.tasks import tracking
from ndogo.tasks.run import Run
from ndogo.tasks.run_record import (
    RUNS,
    EvaluationNote,
    RelativeSizes,
    ReportNote,
    RunRecord,
    RunState,
    StepNote,
    StepNumbers,
    opening,
)

CURVE_POINTS = 400
"""Most points of one training curve that a record keeps."""


@contextlib.contextmanager
def opened(run: Run, **tags: str) -> Iterator[None]:
    """Open (or reopen) the record of a run. The lock is held while it lives; runs that a kill left open are closed first."""
    close_left_open(run.store)
    file = lock_file(run.store.folder, f"alive-{run.id}")
    repeated = _repeated_by(run)

    def reopen(record: RunRecord) -> None:
        if not record.started:
            record.tags, record.started, record.repeats = tags, time.time(), repeated
        record.state = "RUNNING"

    with FileLock(file):
        _change(run, reopen)
        note_original(run)
        yield


def _repeated_by(run: Run) -> str:
    """The id of the run that made all that a run asks for, with the same text, code of steps and settings; or nothing."""
    wanted, keys = opening(run), run.bundle_keys()
    for record in run.store.read_records(RUNS, RunRecord):
        same = (record.run | {"id": ""}, record.recipe_text) == (wanted.run | {"id": ""}, wanted.recipe_text)
        made = {name: step.key for name, step in record.steps.items() if name in keys}
        if same and made == keys and record.state in ("COMPLETED", "REFUSED") and not record.repeats:
            return record.id
    return ""


def note_report(run: Run, folder: Path, sentences: Sequence[str]) -> RunRecord:
    """Note where a run's report lies, and what it says in words; the record is returned."""
    files = {file.name: file_hash(file) for file in sorted(folder.iterdir())}
    report = ReportNote(folder=str(folder), files=files, sentences=list(sentences))

    def note(record: RunRecord) -> None:
        record.report = report

    return _change(run, note)


def close(store: Store, run_id: str, state: RunState, unless: RunState | None = None) -> None:
    """Close the record of a run that ended badly; one that was never opened, or is in the state `unless`, stays as it is."""
    with store.lock(f"{RUNS}-{run_id}"):
        record = store.read_record(RUNS, run_id, RunRecord)
        if record is not None and record.state != unless:
            record.state, record.finished = state, time.time()
            _deliver(record, store)


def close_open(store: Store, run_id: str, state: RunState) -> None:
    """Close the record of a run that is still open."""
    record = store.read_record(RUNS, run_id, RunRecord)
    if record is not None and record.state == "RUNNING":
        close(store, run_id, state)


def of_flow_run(store: Store, flow_run_id: str) -> list[str]:
    """The ids of the runs that a flow run opened: its own, or those that a sweep derived from it."""
    return sorted(file.stem for file in (store.folder / RUNS).glob(f"{flow_run_id}*.json"))


def note_step(
    run: Run, step: Step, bundle: Bundle, parents: Mapping[str, Bundle], *, found: bool, seconds: float
) -> None:
    """Note a step's result: its numbers as they stand in its step.json, and whether this run made it."""
    known = StepNote(
        kind=step.kind,
        spec=step.model_dump(mode="json"),
        key=bundle.key,
        parents={role: parent.key for role, parent in parents.items()},
        found=found,
        numbers=_numbers(run, bundle, seconds_here=round(seconds, 3)),
    )

    def note(record: RunRecord) -> None:
        known.curve = record.steps.get(step.id, known).curve
        record.steps[step.id] = known

    _change(run, note)


def note_original(run: Run) -> None:
    """Note the teacher as the first step."""
    known = StepNote(kind=ORIGINAL, key=run.original, numbers=_numbers(run, Bundle(ORIGINAL, run.original)))

    def note(record: RunRecord) -> None:
        record.steps[ORIGINAL] = known

    _change(run, note)


def _numbers(run: Run, bundle: Bundle, **further: float) -> StepNumbers:
    sizes = relative_sizes(run, bundle).model_dump(exclude_none=True)
    return StepNumbers.model_validate(run.store.details(bundle).numbers.found() | sizes | further)


def relative_sizes(run: Run, bundle: Bundle) -> RelativeSizes:
    """A model's size against the teacher's, and against that of the teacher trimmed to the model's rows.

    Megabytes are counted anew, in one type: what an older step.json says may be of another.
    """
    from ndogo.core.download import download_mb, tokenizer_bytes

    small, original = (run.store.details(key).numbers for key in (bundle.key, run.original))
    folder = run.store.path(bundle)
    ratio = original.params / small.params
    trimmed = _trimmed_params(run, bundle)
    return RelativeSizes(
        params=small.params,
        params_encoder=small.params_encoder,
        params_embedding=small.params_embedding,
        size_mb=download_mb(small.params + (small.params_dense or 0), tokenizer_bytes(folder)),
        compression_ratio=ratio,
        compression_ratio_trimmed=trimmed / small.params,
        reduction_percent=100 * (1 - 1 / ratio),
    )


def _trimmed_params(run: Run, bundle: Bundle) -> int:
    """Parameters of the teacher with as many rows as the model has: what trimming alone gives. Counted once per model."""

    def count() -> _Trimmed:
        from ndogo.core.architectures import shape_of, with_shape
        from ndogo.core.models import empty_model, has_pooler, load_config, parameters

        teacher, rows = run.store.path(run.original), shape_of(load_config(run.store.path(bundle))).vocab
        model = empty_model(with_shape(load_config(teacher), vocab=rows), pooler=has_pooler(teacher))
        return _Trimmed(params=parameters(model))

    return run.store.record("trimmed-teachers", f"{run.original}-{bundle.key}", _Trimmed, count)[0].params


class _Trimmed(Frozen):
    """A teacher with a model's rows."""

    params: int


def note_curve(run: Run, name: str, at: int, numbers: Mapping[str, float]) -> None:
    """Add a point to a step's training curve."""

    def add(record: RunRecord) -> None:
        step = record.steps.setdefault(name, StepNote())
        step.curve = [*(point for point in step.curve if point[0] < at), (at, dict(numbers))][-CURVE_POINTS:]

    _change(run, add)


def note_evaluation(run: Run, name: str, judged: EvaluationNote) -> None:
    """Note how a step's model was judged."""

    def note(record: RunRecord) -> None:
        record.evaluations[name] = judged

    _change(run, note)


def finish(run: Run, state: RunState, summary: Mapping[str, float]) -> RunRecord:
    """Close a run's record with its summary; the record is returned."""

    def note(record: RunRecord) -> None:
        record.state, record.summary, record.finished = state, dict(summary), time.time()

    return _change(run, note)


def note_registered(run: Run, version: str | None) -> None:
    """Note which version of its registered model a run's small model is; None while it is to become one."""

    def note(record: RunRecord) -> None:
        record.registered = version

    _change(run, note)


def unregistered(store: Store) -> list[RunRecord]:
    """The records of runs whose model MLflow could not take at the time, and whose numbers it now has; never a sweep's."""
    over = (r for r in store.read_records(RUNS, RunRecord) if r.state == "COMPLETED" and not lives(store, r.id))
    waiting = [record for record in over if record.registered is None and tracking.delivered(record, store)]
    return sorted(waiting, key=lambda record: record.finished)  # the newest is the challenger


def finished(store: Store, language: str) -> list[RunRecord]:
    """The records of a language's completed runs, smallest model first; of equal runs (recipe, profile, seed) the newest.

    :raises NdogoError: there is none.
    """
    newest: dict[tuple[str, str, int], RunRecord] = {}
    for record in store.read_records(RUNS, RunRecord):
        if record.language == language and record.summary:
            kind = (record.recipe_text, record.profile, record.seed)
            if kind not in newest or record.finished > newest[kind].finished:
                newest[kind] = record
    if not newest:
        raise NdogoError(
            f"No run of {language} is finished.", where=str(store.folder / RUNS), cure=f"ndogo compress {language}"
        )
    return sorted(newest.values(), key=lambda record: record.summary["params"])


def lives(store: Store, run_id: str) -> bool:
    """Whether the process of a run holds its lock, on this or another machine."""
    try:
        with FileLock(lock_file(store.folder, f"alive-{run_id}"), timeout=0):
            return False
    except Timeout:
        return True


def was_killed(store: Store, run_id: str) -> bool:
    """Whether a run was opened, never closed by itself, and is no longer alive."""
    record = store.read_record(RUNS, run_id, RunRecord)
    return record is not None and record.state in ("RUNNING", "KILLED") and not lives(store, run_id)


def close_left_open(store: Store) -> None:
    """Close the records of runs whose process is gone."""
    for record in store.read_records(RUNS, RunRecord):
        if record.state == "RUNNING" and not lives(store, record.id):
            close(store, record.id, "KILLED")


def _change(run: Run, change: Callable[[RunRecord], None]) -> RunRecord:
    """Change a run's record, which is opened where there is none, and deliver it; one at a time per run, over processes."""
    with run.store.lock(f"{RUNS}-{run.id}"):
        record = run.store.read_record(RUNS, run.id, RunRecord) or opening(run)
        change(record)
        _deliver(record, run.store)
    return record


def _deliver(record: RunRecord, store: Store) -> bool:
    """Write a record, and bring MLflow up to it; whether it could be reached."""
    store.write_record(RUNS, record.id, record)
    sent = tracking.deliver(record, store)
    store.write_record(RUNS, record.id, record)  # what was sent, be it only a part
    return sent


def sync(store: Store) -> tuple[int, int]:
    """Deliver every record that MLflow does not have whole; how many were delivered, and how many could not be."""
    close_left_open(store)
    done = failed = 0
    for name in [record.id for record in store.read_records(RUNS, RunRecord)]:
        with store.lock(f"{RUNS}-{name}"):
            record = store.read_record(RUNS, name, RunRecord)
            if record is None or tracking.delivered(record, store):
                continue
            sent = _deliver(record, store)
            done, failed = done + sent, failed + (not sent)
    return done, failed
