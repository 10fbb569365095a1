"""The facts of a model's card, from the record of the run that made it."""

from collections.abc import Sequence
from pathlib import Path

from ndogo.core.errors import NdogoError, unknown
from ndogo.core.exported import FOLDER
from ndogo.core.sentences import MODULES, read_json
from ndogo.evaluation import Evaluation, retention
from ndogo.evaluation.records import Comparison
from ndogo.evaluation.summary import MODES
from ndogo.registry import card
from ndogo.registry.bundles import Store
from ndogo.registry.card import Facts, ScoreFacts, StepFacts
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language, language
from ndogo.registry.sources import DataSource, default
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.evaluation import EVALUATIONS
from ndogo.tasks.run import Run
from ndogo.tasks.run_record import RUNS, RunRecord, run_of


def run_that_made(store: Store, model: str) -> RunRecord:
    """The newest finished run that ends in a model: named by the run, by the registered model, or by the bundle or its folder;
    the bundle of an export counts for the model in it.

    :raises NdogoError: no run of this store made it; the nearest names are suggested.
    """
    key = Path(model).name
    records = [record for record in store.read_records(RUNS, RunRecord) if record.summary]
    found = [r for r in records if key in _bundles(r).values() or model in (r.name, r.model_name, r.id)]
    if not found:
        names = sorted({name for r in records for name in (r.name, r.model_name)})
        raise unknown("finished model", model, names, where="MODEL", otherwise="Make one with `ndogo compress`.")
    return max(found, key=lambda record: record.finished)


def _bundles(record: RunRecord) -> dict[str, str]:
    """The keys of the model and of what only adds to it, by step."""
    added = {s.id for s in parse_recipe(record.recipe_text).steps if not s.makes_model and s.student == record.last}
    return {name: note.key for name, note in record.steps.items() if name == record.last or name in added}


def int8_bundle(store: Store, record: RunRecord) -> Path:
    """The folder of a run's export with an int8 file.

    :raises NdogoError: its recipe makes none.
    """
    from ndogo.compressors.export.precision import FILES

    for key in _bundles(record).values():
        if (store.path(key) / FOLDER / FILES["int8"]).is_file():
            return store.path(key)
    raise NdogoError(
        "The run made no int8 file.",
        where=f"--int8: {record.name}",
        cure="End the recipe with `- export: {dtype: int8}`.",
    )


def card_of_folder(store: Store, model: Path, name: str) -> str:
    """The card of what was made of a bundle of the store; empty where no run ends in that bundle."""
    if model.resolve().parent != store.path("any").resolve().parent:
        return ""
    try:
        return card.card(facts_of(store, run_that_made(store, str(model)), name))
    except NdogoError:
        return ""


def facts_of(store: Store, record: RunRecord, name: str, stated_license: str = "") -> Facts:
    """All that the card of a run's model says.

    `stated_license` stands in place of the teacher's, which is asked of the hub's card as it was when the run read it.
    :raises NdogoError: an evaluation was lost.
    """
    run = run_of(record, store)
    judged = {step: evaluation_of(store, note.key) for step, note in record.evaluations.items()}
    last, entry, folder = judged[record.last], language(record.language), store.path(record.steps[record.last].key)
    kept = retention(last, judged[run.reference])
    teacher, teacher_commit = _only(run.sources.teacher)
    corpus, corpus_commit = _only(run.sources.corpus)
    return Facts(
        name=name,
        language=record.language,
        code=entry.code,
        architecture=(read_json(folder / "config.json").get("architectures") or [""])[0],
        recipe=record.recipe_text,
        steps=[_step(record, judged, step) for step in _lineage(record)],
        scores=[_score(run, entry, last, kept.benchmarks[name], name) for name in kept.benchmarks],
        retention=(kept.mean.retention, *kept.mean.retention_interval) if kept.mean else None,
        mode=MODES[last.settings.mode],
        sentences=record.report.sentences[-1:] if record.report else [],
        problems=last.problems,
        teacher=teacher,
        teacher_commit=teacher_commit,
        corpus=corpus,
        corpus_commit=corpus_commit,
        corpus_license=_license(run.sources.corpus),
        fingerprint=run.corpus,
        license=stated_license or _license(run.sources.teacher),
        certificate=_certificate(store, record),
        sentence_model=(folder / MODULES).is_file(),
        toy=record.profile == "pocket",
        versions=last.versions,
    )


def _lineage(record: RunRecord) -> list[str]:
    """The steps from the teacher to the model, in order; what only taught or was compared with is left out."""
    by_key = {note.key: name for name, note in record.steps.items()}
    chain = [record.last]
    while parent := record.steps[chain[-1]].parents.get("student", ""):
        chain.append(by_key[parent])
    return chain[::-1]


def _step(record: RunRecord, judged: dict[str, Evaluation], name: str) -> StepFacts:
    sizes = record.sizes(name)
    scores = {b: found.mean for b, found in judged[name].benchmarks.items()} if name in judged else {}
    return StepFacts(
        name, record.steps[name].kind, sizes.params, sizes.size_mb, scores, sizes.compression_ratio_trimmed
    )


def _score(run: Run, entry: Language, student: Evaluation, compared: Comparison, name: str) -> ScoreFacts:
    found = student.benchmarks[name]
    source = _source(run, entry, name)
    commits = {
        k: v for k, v in run.sources.benchmarks.items() if source and k.startswith(f"datasets/{source.repository}@")
    }
    repository, commit = _only(commits)
    return ScoreFacts(
        name=name,
        kind=found.kind,
        metric=found.metric,
        mean=found.mean,
        std=found.std,
        seeds=found.n_seeds,
        teacher=compared.teacher,
        retention=(compared.retention, *compared.retention_interval),
        rows=found.rows["test"],
        source=repository,
        configuration=source.configuration if source and repository else "",
        commit=commit,
    )


def _source(run: Run, entry: Language, name: str) -> DataSource | None:
    """Where a benchmark's rows came from, if from a data set."""
    if isinstance(entry.benchmarks, dict) and name in entry.benchmarks:
        return entry.benchmarks[name]
    return default(name, entry.hub[name]) if run.profile == "hub" and name in entry.hub else None


def _only(commits: dict[str, str]) -> tuple[str, str]:
    """The repository of the hub that is noted, and its commit; nothing where none is."""
    for key, commit in commits.items():
        return key.partition("/")[2].partition("@")[0], commit
    return "", ""


def _license(commits: dict[str, str]) -> str:
    """The licence in the card of the noted repository; nothing where it has none, or the hub is away and it was not kept."""
    for key in commits:
        kind, _, rest = key.partition("/")
        repository, _, revision = rest.partition("@")
        try:
            found = (
                Hub(commits).card("model" if kind == "models" else "dataset", repository, revision).get("license", "")
            )
        except NdogoError:
            return ""
        return found if isinstance(found, str) else ", ".join(found)
    return ""


def _certificate(store: Store, record: RunRecord) -> str:
    """The certificate of the last trim of the lineage."""
    texts: Sequence[str] = [card.read_certificate(store.path(record.steps[step].key)) for step in _lineage(record)]
    return next((text for text in reversed(texts) if text), "")


def evaluation_of(store: Store, key: str) -> Evaluation:
    """A stored evaluation.

    :raises NdogoError: it was lost or damaged since it was made.
    """
    if found := store.read_record(EVALUATIONS, key, Evaluation):
        return found
    raise NdogoError("An evaluation was lost.", where=f"{EVALUATIONS}/{key}.json", cure="Run again: it is made again.")
