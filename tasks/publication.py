"""The end of a run: the summary that one compares, the report, the registered model, and the gate."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from ndogo import evaluation
from ndogo.core.errors import NdogoError
from ndogo.evaluation import Entry, Evaluation, Latency, Role, retention
from ndogo.evaluation.judge import versions
from ndogo.registry import model_registry
from ndogo.registry.bundles import Bundle, Store, canonical
from ndogo.registry.card import description
from ndogo.steps.recipe import ORIGINAL
from ndogo.tasks import gate, notes, pictures, shipping, tracking
from ndogo.tasks.cards import evaluation_of, facts_of
from ndogo.tasks.descriptions import result
from ndogo.tasks.evaluation import metrics_of
from ndogo.tasks.run import Run, planned
from ndogo.tasks.run_record import RunRecord, run_of

if TYPE_CHECKING:
    from ndogo.steps.plan import Planned

TOY = "Pocket profile: a generated toy world and capped training; it says nothing about real text."
FASTER = (
    "One row of 128 tokens takes {latency_ms:.1f} ms on one thread here, {speedup:.1f} times faster than the teacher."
)
SHORT = {"bits_per_byte": "bits/B", "word_accuracy": "words"}
"""Heads of the language-model columns: bits per byte, and the share of whole words guessed."""
WIDEST = 6
"""Characters of a benchmark's name in the table's head."""


@task(name="Publish", cache_policy=NO_CACHE, persist_result=False)
def publish(run: Run, bundle: Bundle, judged: Mapping[str, str]) -> str:
    """Conclude a run and register its small model, which becomes champion only through the gate. The run's id.

    :raises NdogoError: the gate refused it; the message says which number fell, by how much, against which version.
    """
    evaluations = read(run.store, judged)
    record = conclude(run, bundle, evaluations)
    refusals = register(run, bundle, evaluations[run.recipe.last], record)
    tell(run, record, f"**The gate refused it**: {'; '.join(refusals)}." if refusals else "The gate let it through.")
    if refusals:
        notes.close(run.store, run.id, "REFUSED")
        raise NdogoError(
            f"The gate refused {run.model_name}: {'; '.join(refusals)}.",
            where=f"run {run.name}",
            cure="The champion stays. `ndogo promote` overrules the gate.",
        )
    return run.id


def read(store: Store, judged: Mapping[str, str]) -> dict[str, Evaluation]:
    """The evaluations of a run by step, from their keys.

    :raises NdogoError: one was lost or damaged since it was made.
    """
    return {name: evaluation_of(store, key) for name, key in judged.items()}


def conclude(run: Run, bundle: Bundle, evaluations: Mapping[str, Evaluation]) -> RunRecord:
    """Summarise a run and write its report; its record."""
    record = notes.finish(run, "COMPLETED", summarise(run, bundle, evaluations))
    folder, sentences = write_report(run, evaluations, record)
    sentences = [*sentences, FASTER.format(**record.summary)]
    if shipped := shipping.shipping(run):
        sentences.append(shipping.sentence(shipped))
    record = notes.note_report(run, folder, sentences)
    return record


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


def summarise(run: Run, bundle: Bundle, evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
    """What the parent run carries: size, ratio, every benchmark of the small model, and its retention."""
    summary: dict[str, float] = notes.relative_sizes(run, bundle).model_dump() | speed(run, bundle).model_dump()
    if shipped := shipping.shipping(run):
        summary |= shipped.numbers()
    last = evaluations[run.recipe.last]
    summary |= metrics_of(last)
    retained = retention(last, evaluations[ORIGINAL])
    summary |= {f"retention_{name}": found.retention for name, found in retained.benchmarks.items()}
    summary["retention"] = retained.mean.retention
    summary["retention_low"], summary["retention_high"] = retained.mean.retention_interval
    for name, role in run.baselines.items():
        beaten = retention(last, evaluations[name]).mean
        summary[f"over_{role}"] = beaten.difference
        summary[f"over_{role}_low"], summary[f"over_{role}_high"] = beaten.difference_interval
    for step in run.recipe.steps:
        if not step.makes_model and step.id in evaluations:
            lost = retention(evaluations[step.id], last).mean
            summary[f"{step.id}_difference"] = lost.difference
            summary[f"{step.id}_difference_low"], summary[f"{step.id}_difference_high"] = lost.difference_interval
        if step.result == "adapted" and step.id not in (run.recipe.last, *run.baselines):
            summary["retention_adapted"] = retention(last, evaluations[step.id]).mean.retention
    return summary


def speed(run: Run, bundle: Bundle) -> Latency:
    """How fast the small model is beside the teacher, measured once per machine, while no step computes in this process."""
    content = canonical([bundle.key, run.original, platform.node(), versions()])
    key = hashlib.sha256(content.encode()).hexdigest()[:20]
    folders = run.store.path(bundle), run.store.path(run.original)
    return run.store.record("latencies", key, Latency, lambda: evaluation.latency(*folders))[0]


def write_report(run: Run, evaluations: Mapping[str, Evaluation], record: RunRecord) -> tuple[Path, list[str]]:
    """The folder with everything for people: report, plan, pictures; and what the report says in words."""
    folder = run.store.folder / "reports" / run.id
    roles = roles_of(run)
    entries = [
        Entry(name, roles[name], judged, parameters=record.sizes(name).params)
        for name, judged in evaluations.items()
        if name in roles
    ]
    made = evaluation.write_report(f"{run.name} ({run.profile})", entries, folder, TOY if record.scaled else "")
    (folder / "steps.md").write_text(table(record) + "\n", encoding="utf-8")
    if shipped := shipping.shipping(run):
        (folder / "shipping.md").write_text(shipping.table(shipped) + "\n", encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps([_row(row) for row in planned(run)], indent=1), encoding="utf-8")
    (folder / "stages.png").write_bytes(pictures.stages(record))
    (folder / "size-and-quality.png").write_bytes(
        pictures.landscape(notes.finished(run.store, run.language), run.language)
    )
    return folder, made.sentences


def roles_of(run: Run) -> dict[str, Role]:
    """What each judged step is to the reader: the ends, the adapted teacher, and the baselines.

    Baselines that were not asked for are those that the recipe passes by.
    """
    found: dict[str, Role] = dict(run.baselines)
    for step in run.recipe.order():
        if step.result == "adapted" and step.id not in found:
            found[step.id] = "adapted"
        if step.result == "trimmed" and step.student == ORIGINAL and not run.baselines:
            found[step.id] = "trimmed"
    last = run.recipe.step(run.recipe.last)
    if last.roles and last.student not in found and not run.baselines:
        found[last.student] = "cut"
    return {**found, ORIGINAL: "original", run.recipe.last: "student"}


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


def table(record: RunRecord) -> str:
    """A run as a Markdown table: one row per step, scores in points, language-model quality in bits per byte."""
    heads, body = cells(record)
    rule = ["---", *["---:"] * (len(heads) - 1)]
    lines = [f"| {' | '.join(row)} |" for row in (heads, rule, *body)]
    return "\n".join([*lines, "", TOY] if record.scaled else lines)


def cells(record: RunRecord) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table, short enough for four benchmarks in 80 characters."""
    seen = {name for judged in record.evaluations.values() for name in judged.metrics if not name.endswith("_std")}
    names = ["score", *sorted(seen - {"score", *SHORT}), *(name for name in SHORT if name in seen)]
    body = []
    for name in record.steps:
        sizes, judged = record.sizes(name), record.evaluations.get(name)
        scores = judged.metrics if judged else {}
        shown = [_shown(n, scores[n]) if n in scores else "" for n in names]
        millions, ratio = f"{sizes.params / 1e6:.2f}M", f"{sizes.compression_ratio:.1f}x"
        megabytes = sizes.found().get("file_mb", sizes.size_mb)  # of an export: its default file
        body.append([name, millions, f"{megabytes:.1f}", ratio, *shown])
    return ["step", "params", "MB", "ratio", *(SHORT.get(n, n[:WIDEST]) for n in names)], body


def _shown(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "bits_per_byte" else f"{100 * value:.1f}"
