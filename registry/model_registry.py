"""The MLflow Model Registry: final models, their versions and their aliases: challenger, champion and reference."""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ndogo.core.exported import FOLDER, MANIFEST
from ndogo.registry import artifacts, champions, database
from ndogo.registry.bundles import Bundle, Store
from ndogo.registry.champions import Crowned

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER = "challenger"
CHAMPION = "champion"
REFERENCE = "reference"
LONGEST_TEXT = 5000
VERDICT = "\n\nThe gate: "
"""How the part of a version's description begins that says what was decided."""
ADDRESS = "http://127.0.0.1:5000"
"""Where `make serve` puts MLflow; for links while no server runs."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

NEEDS = ["mlflow", "torch", "transformers", "sentencepiece"]
"""What serving a model takes."""
EXPORTED = ["mlflow", "ndogo-run"]
"""What serving an export takes."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    version: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    description: str = ""

    @classmethod
    def of(cls, found: "ModelVersion", aliases: Iterable[str] = ()) -> "Version":
        """What we read of MLflow's own record; a search does not fill in the aliases."""
        return cls(str(found.version), found.tags, tuple(sorted({*found.aliases, *aliases})), found.description or "")


def tracking_uri(store: Store) -> str:
    """$MLFLOW_TRACKING_URI, else the SQLite file beside the store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_database(store)


def own_database(store: Store) -> str:
    """The address of the SQLite file beside the store."""
    return f"sqlite:///{database.place(store.folder)}"


def address(store: Store) -> str:
    """The tracking URI, and which database it is: what a record says was sent to another one is sent again."""
    uri = tracking_uri(store)
    beside = uri == own_database(store) or uri.startswith(("http://127.0.0.1", "http://localhost"))
    if uri == own_database(store):
        database.look_after(store.folder)
    known = database.name(store.folder) if beside else ""
    return f"{uri}#{known}" if known else uri


def page_of(store: Store, experiment: str, run_id: str) -> str:
    """The page of a run in MLflow's machine-learning mode; the address is that of `make serve` while no server is named."""
    server = tracking_uri(store) if tracking_uri(store).startswith("http") else ADDRESS
    return f"{server}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"


def client(store: Store) -> "MlflowClient":
    """A client of tracking and registry, quick to give up on a server that is down."""
    if tracking_uri(store) == own_database(store):
        database.look_after(store.folder)
    return client_at(tracking_uri(store))


def client_at(uri: str) -> "MlflowClient":
    """The same of any address."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for noisy in ("alembic", "mlflow.store", "mlflow.tracking"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def register(
    store: Store, name: str, run_id: str, bundle: Bundle, metrics: Mapping[str, float], tags: Mapping[str, str]
) -> Version:
    """Log a bundle as a model without pickles, its metrics linked, and register it as the challenger of `name`.

    A bundle that is a version of `name` already becomes the challenger again, without a copy. `tags` are those of a new version;
    `bundle` is added.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(tracking_uri(store))
    mlflow.set_registry_uri(tracking_uri(store))
    registry = client(store)
    found = [v for v in versions(store, name) if v.tags.get("bundle") == bundle.key]
    if found:
        number = found[0].version
    else:
        with mlflow.start_run(run_id=run_id):
            folder = store.path(bundle)
            logged = mlflow.pyfunc.log_model(
                name=name,
                python_model=str(Path(__file__).with_name("served_model.py")),
                artifacts={"model": str(folder)},
                pip_requirements=EXPORTED if (folder / FOLDER / MANIFEST).is_file() else NEEDS,
            )
        if place := artifacts.local(registry.get_logged_model(logged.model_id).artifact_location):
            artifacts.link(store.path(bundle), place / "artifacts" / bundle.key)
        for key, value in metrics.items():
            registry.log_metric(run_id, key, value, model_id=logged.model_id)
        try:
            registry.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"models:/{logged.model_id}"
        told = {**tags, "bundle": bundle.key}
        made = registry.create_model_version(name, source, run_id=run_id, tags=told, model_id=logged.model_id)
        number = str(made.version)
    registry.set_registered_model_alias(name, CHALLENGER, number)
    return Version.of(registry.get_model_version(name, number))


def describe(store: Store, name: str, version: str, text: str) -> None:
    """Say what a version is, in Markdown; what the gate said of it stays."""
    _, _, verdict = _description(store, name, version).partition(VERDICT)
    _write(store, name, version, _spaced(text), verdict)


def versions(store: Store, name: str) -> list[Version]:
    """All versions of a registered model, newest first; none where it is not registered."""
    registry = client(store)
    found = sorted(registry.search_model_versions(f"name = '{name}'"), key=lambda v: int(v.version), reverse=True)
    known = registry.get_registered_model(name).aliases if found else {}
    return [Version.of(v, (alias for alias, number in known.items() if str(number) == str(v.version))) for v in found]


def names(store: Store) -> list[str]:
    """The names of all registered models."""
    return sorted(model.name for model in client(store).search_registered_models())


def by_alias(store: Store, name: str, alias: str) -> Version | None:
    """The version that carries an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return Version.of(client(store).get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def note(store: Store, name: str, version: str, tags: Mapping[str, str], verdict: str) -> None:
    """Write onto a version what was decided of it, and its scores, as tags and as the end of its description."""
    registry = client(store)
    for key, value in tags.items():
        registry.set_model_version_tag(name, version, key, value[:LONGEST_TEXT])
    before, _, _ = _description(store, name, version).partition(VERDICT)
    _write(store, name, version, before, verdict)


def _description(store: Store, name: str, version: str) -> str:
    return client(store).get_model_version(name, version).description or ""


def _write(store: Store, name: str, version: str, text: str, verdict: str) -> None:
    """MLflow keeps so many characters: the text gives way to the verdict."""
    end = f"{VERDICT}{verdict}"[:LONGEST_TEXT] if verdict else ""
    client(store).update_model_version(name, version, description=f"{text[: LONGEST_TEXT - len(end)]}{end}")


def _spaced(text: str) -> str:
    """The text with a space at the end of each cell of a table: MLflow's page leaves none between two columns."""
    lines = text.split("\n")
    return "\n".join(
        line.replace(" | ", "&ensp; | ") if line.startswith("| ") and "---" not in line else line for line in lines
    )


def promote(store: Store, name: str, version: str, crowned: Crowned, *, reference: bool = False) -> None:
    """Make a version the champion: in the store first, then in the registry, which shows the reference as well."""
    now = champions.crown(store, name, crowned, reference=reference)
    registry = client(store)
    registry.set_registered_model_alias(name, CHAMPION, version)
    if now.reference == crowned:
        registry.set_registered_model_alias(name, REFERENCE, version)


def show_standings(store: Store) -> None:
    """Give the aliases of champion and reference to the versions that the store says they are, where they were lost."""
    for standing in champions.standings(store):
        known = {version.tags.get("bundle"): version.version for version in versions(store, standing.name)}
        for alias, crowned in ((CHAMPION, standing.champion), (REFERENCE, standing.reference)):
            if crowned.bundle in known and by_alias(store, standing.name, alias) is None:
                client(store).set_registered_model_alias(standing.name, alias, known[crowned.bundle])
