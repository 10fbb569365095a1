"""The end of a run: the summary that one compares, the report, the registered model, and the gate."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from ndogo import evaluation as judging
from ndogo.core.download import SIZE_TYPE
from ndogo.core.faults import in_frame
from ndogo.evaluation import Entry, Evaluation, Latency, Role, gap_closed, retention
from ndogo.evaluation.effects import Stage, effects
from ndogo.evaluation.judge import versions
from ndogo.evaluation.summary import SAME_SIZE
from ndogo.registry import model_registry
from ndogo.registry.bundles import Bundle, Store, canonical, logs
from ndogo.registry.card import description
from ndogo.registry.integrity import file_hash
from ndogo.steps.recipe import ORIGINAL
from ndogo.tasks import gate, notes, pictures, shipping, tracking
from ndogo.tasks.cards import evaluation_of, facts_of
from ndogo.tasks.descriptions import result
from ndogo.tasks.evaluation import metrics_of
from ndogo.tasks.rivals import rivals
from ndogo.tasks.run import Run, planned
from ndogo.tasks.run_record import RUNS, ReportNote, RunRecord, run_of
from ndogo.tasks.table import table

if TYPE_CHECKING:
    from ndogo.steps.plan import Planned

FASTER = (
    "One row of 128 tokens takes {latency_ms:.1f} ms on one thread here, {speedup:.1f} times faster than the teacher."
)


@task(name="Publish", cache_policy=NO_CACHE, persist_result=False)
@in_frame("the publication", logs)
def publish(run: Run, bundle: Bundle, judged: Mapping[str, str]) -> str:
    """Conclude a run and register its small model, which becomes champion only through the gate. The run's id.

    :raises Refused: the gate did not let it through; its reasons say which number fell, by how much, against which version.
    """
    evaluations = read(run.store, judged)
    record = conclude(run, bundle, evaluations)
    refusals = register(run, bundle, evaluations[run.recipe.last], record)
    tell(run, record, f"**The gate refused it**: {'; '.join(refusals)}." if refusals else "The gate let it through.")
    if refusals:
        notes.close(run.store, run.id, "REFUSED")
        raise gate.Refused(run.model_name, refusals, run.name)
    return run.id


def read(store: Store, judged: Mapping[str, str]) -> dict[str, Evaluation]:
    """The evaluations of a run by step, from their keys.

    :raises NdogoError: one was lost or damaged since it was made.
    """
    return {name: evaluation_of(store, key) for name, key in judged.items()}


def conclude(run: Run, bundle: Bundle, evaluations: Mapping[str, Evaluation]) -> RunRecord:
    """Summarise a run and write its report; its record."""
    beside = rivals(run, bundle)
    record = notes.finish(run, "COMPLETED", summarise(run, bundle, evaluations, beside))
    if (known := _known_report(run.store, record)) is not None:
        return notes.note_report(run, Path(known.folder), known.sentences)
    folder, sentences = write_report(run, evaluations, record, beside)
    sentences = [*sentences, FASTER.format(**record.summary)]
    if shipped := shipping.shipping(run):
        sentences.append(shipping.sentence(shipped))
    record = notes.note_report(run, folder, sentences)
    return record


def _known_report(store: Store, record: RunRecord) -> ReportNote | None:
    """The report of the run that this one repeats, where it is whole and would say the same again."""
    before = store.read_record(RUNS, record.repeats, RunRecord) if record.repeats else None
    if before is None or before.report is None:
        return None
    if (before.summary, before.evaluations) != (record.summary, record.evaluations):
        return None
    folder = Path(before.report.folder)
    whole = all((folder / f).is_file() and file_hash(folder / f) == h for f, h in before.report.files.items())
    return before.report if whole else None


def tell(run: Run, record: RunRecord, verdict: str) -> None:
    """Leave the result as an artefact of the flow run: a sentence, the gate's verdict, the way to MLflow, step by step."""
    parts = [f"{result(record)} {verdict}".strip()]
    if record.mlflow.parent:
        page = model_registry.page_of(run.store, record.mlflow.experiment, record.mlflow.parent.run_id)
        parts.append(f"[The run in MLflow, with its report]({page})")
    parts.append(table(record))
    if record.report:
        parts.append("\n".join(f"- {sentence}" for sentence in record.report.sentences))
    about = f"{run.name}: size and quality, step by step"
    create_markdown_artifact("\n\n".join(parts), key=run.name, description=about)


def summarise(
    run: Run, bundle: Bundle, evaluations: Mapping[str, Evaluation], beside: Sequence[Entry] = ()
) -> dict[str, float]:
    """What the parent run carries: size, ratio, every benchmark of the small model, and its retention."""
    summary: dict[str, float] = notes.relative_sizes(run, bundle).model_dump() | speed(run, bundle).model_dump()
    last, original = evaluations[run.recipe.last], evaluations[run.reference]
    if shipped := shipping.shipping(run):
        summary |= shipped.numbers()
    summary |= metrics_of(last)
    retained = retention(last, original)
    summary |= {f"retention_{name}": found.retention for name, found in retained.benchmarks.items()}
    summary |= {f"retention_{name}": found.retention for name, found in retained.vectors.items()}
    summary["benchmarks"] = len(last.benchmarks)
    if retained.mean is None:  # a mean of other benchmarks would look like one of these
        del summary["score"]
    else:
        summary["retention"] = retained.mean.retention
        summary["retention_low"], summary["retention_high"] = retained.mean.retention_interval
    for name, role in run.baselines.items():
        summary |= _difference(f"over_{role}", last, evaluations[name])
    for rival in beside:
        summary |= _difference(f"over_{rival.role}", last, rival.evaluation)
    for step in run.recipe.steps:
        if not step.makes_model and step.id in evaluations:
            summary |= _difference(f"{step.id}_difference", evaluations[step.id], last)
        if step.result == "adapted" and step.id not in (run.recipe.last, *run.baselines):
            adapted = retention(last, evaluations[step.id]).mean
            summary |= {"retention_adapted": adapted.retention} if adapted else {}
    roles = roles_of(run)
    small = notes.relative_sizes(run, bundle).params
    floors = {
        name: judged
        for name, judged in evaluations.items()
        if roles.get(name) in SAME_SIZE and run.store.details(run.bundle_keys()[name]).numbers.params == small
    }
    if gap := gap_closed(last, original, floors):
        summary |= {"gap_closed": gap.closed, "floor": gap.floor_mean}
    return summary


def _difference(name: str, ours: Evaluation, theirs: Evaluation) -> dict[str, float]:
    """The difference of means with both ends of its interval; nothing where the means are not comparable."""
    found = retention(ours, theirs).mean
    if found is None:
        return {}
    low, high = found.difference_interval
    return {name: found.difference, f"{name}_low": low, f"{name}_high": high}


def speed(run: Run, bundle: Bundle) -> Latency:
    """How fast the small model is beside the teacher, measured once per machine, while no step computes in this process."""
    content = canonical([bundle.key, run.original, platform.node(), versions()])
    key = hashlib.sha256(content.encode()).hexdigest()[:20]
    folders = run.store.path(bundle), run.store.path(run.original)
    return run.store.record("latencies", key, Latency, lambda: judging.latency(*folders))[0]


def write_report(
    run: Run, evaluations: Mapping[str, Evaluation], record: RunRecord, beside: Sequence[Entry] = ()
) -> tuple[Path, list[str]]:
    """The folder with everything for people: report, plan, pictures; and what the report says in words."""
    folder = run.store.folder / "reports" / run.id
    roles = roles_of(run)
    entries = [_entry(name, roles[name], judged, record) for name, judged in evaluations.items() if name in roles]
    entries += beside
    told = effects(stages(run, evaluations, record))
    made = judging.write_report(f"{run.name} ({run.profile})", entries, folder, record.notice, told)
    (folder / "steps.md").write_text(table(record) + "\n", encoding="utf-8")
    if shipped := shipping.shipping(run):
        (folder / "shipping.md").write_text(shipping.table(shipped) + "\n", encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps([_row(row) for row in planned(run)], indent=1), encoding="utf-8")
    (folder / "stages.png").write_bytes(pictures.stages(record))
    (folder / "size-and-quality.png").write_bytes(
        pictures.landscape(notes.finished(run.store, run.language), run.language)
    )
    return folder, made.sentences


def _entry(name: str, role: Role, judged: Evaluation, record: RunRecord) -> Entry:
    sizes = record.sizes(name)
    return Entry(
        name,
        role,
        judged,
        parameters=sizes.params,
        size_mb=sizes.size_mb,
        ratio_trimmed=sizes.compression_ratio_trimmed,
    )


def stages(run: Run, evaluations: Mapping[str, Evaluation], record: RunRecord) -> list[Stage]:
    """The teacher and the models between it and the small one, in order, as far as they were judged as language models."""
    names, name = [], run.recipe.last
    while name != ORIGINAL:
        names.append(name)
        name = run.recipe.step(name).student
    found = []
    for name in (run.reference, *reversed(names)):
        judged = evaluations.get(name)
        if judged is not None and judged.language_model is not None:
            cut = name in names and run.recipe.step(name).cuts
            found.append(Stage(name, cut, record.sizes(name).params, judged.language_model))
    return found


def roles_of(run: Run) -> dict[str, Role]:
    """What each judged step is to the reader: the ends, the adapted teacher, and the baselines.

    Baselines that were not asked for are those that the recipe passes by.
    """
    found: dict[str, Role] = dict(run.baselines)
    for step in run.recipe.order():
        if step.result == "adapted" and step.id not in found:
            found[step.id] = "adapted"
    found = run.passed_by() | found
    return {**found, run.reference: "original", run.recipe.last: "student"}


def _row(row: "Planned") -> dict[str, str | int]:
    return {"step": row.id, "params": row.params, "params_encoder": row.params_encoder, **row.shape.__dict__}


def register(run: Run, bundle: Bundle, judged: Evaluation, record: RunRecord) -> list[str]:
    """Register the model as challenger, and promote it if the gate lets it through; why it did not."""
    notes.note_registered(run, None)
    parent = record.mlflow.parent
    if parent is None or not tracking.answers(model_registry.tracking_uri(run.store)):
        return []  # kept in the record; registered by `ndogo sync`, or when the run is found again
    tags = {
        "evaluation": record.evaluations[run.recipe.last].key,
        "mode": run.settings.mode,
        "size_type": SIZE_TYPE,
        "language": run.language,
        "recipe": run.recipe.name,
        "profile": run.profile,
        "seed": str(run.seed),
        "run": run.id,
    }
    refusals: list[str] = []
    with tracking.left_for_later(run.store):
        version = model_registry.register(run.store, run.model_name, parent.run_id, bundle, record.summary, tags)
        told = description(facts_of(run.store, record, run.model_name))
        model_registry.describe(run.store, run.model_name, version.version, told)
        refusals = gate.decide(run, version, judged, record.summary)
        notes.note_registered(run, version.version)
    return refusals


def register_missed(store: Store) -> Iterator[str]:
    """Register the models of runs that ended while MLflow was away; a sentence on each."""
    for record in notes.unregistered(store):
        run, last = run_of(record, store), record.last
        judged = evaluation_of(store, record.evaluations[last].key)
        refusals = register(run, Bundle(last, record.steps[last].key), judged, record)
        if refusals:
            notes.close(store, run.id, "REFUSED")
            yield f"{run.name}: the gate refused {run.model_name}: {'; '.join(refusals)}"
        else:
            yield f"{run.name}: registered as {run.model_name}"
    with tracking.left_for_later(store):
        model_registry.show_standings(store)
