"""Commands that run recipes and look at what came of them."""

import contextlib
import contextvars
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import typer

from ndogo.registry.corpora import Profile
from ndogo.servers import serve

PANEL = "Runs"
Runner = Literal["here", "dask"]

Language = Annotated[str, typer.Argument(help="A language; `ndogo languages` lists them.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (compress, sweep, evaluate, compare, serve, history, promote, sync, clean):
        app.command(rich_help_panel=PANEL)(command)


def compress(
    language: Language,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or a .yaml file.")] = "ndogo-small",
    profile: Annotated[Profile | None, typer.Option(help="Where teacher, text and benchmarks come from.")] = None,
    teacher: Annotated[str, typer.Option(help="A model directory; default: the profile's own.")] = "",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    mode: Annotated[str, typer.Option(help="How models are judged: probe or finetune.")] = "probe",
    baselines: Annotated[bool, typer.Option("--baselines", help="Also make what the recipe must beat.")] = False,
    budget: Annotated[str, typer.Option(help="Instead of a recipe: 20MB of weights, 12M parameters or 5ms.")] = "",
) -> None:
    """Make a small model of a language: the whole pipeline, without any server running."""
    from ndogo.registry.corpora import default_profile
    from ndogo.registry.languages import language as find_language
    from ndogo.registry.recipes import recipe as find_recipe
    from ndogo.registry.teachers import weights

    entry = find_language(language)
    chosen = profile or default_profile(entry)
    find_recipe(recipe)  # these two refuse bad input before Prefect starts
    weights(teacher, entry, chosen)
    if budget:
        from ndogo.budget import make_recipe

        recipe = make_recipe(language, budget, chosen, teacher)
    with _without_server():
        from ndogo import show
        from ndogo.flows.compress import compress as flow

        show.result(flow(language, recipe, chosen, seed, teacher, mode, baselines))


def sweep(
    languages: Annotated[str, typer.Option(help="Comma-separated.")],
    recipes: Annotated[str, typer.Option(help="Comma-separated.")],
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    profile: Annotated[Profile | None, typer.Option(help="Where teacher, text and benchmarks come from.")] = None,
    teacher: Annotated[str, typer.Option(help="A model directory; default: the profile's own.")] = "",
    runner: Annotated[
        Runner, typer.Option(help="dask: a local cluster, or one that runs already (--address).")
    ] = "here",
    address: Annotated[str | None, typer.Option(help="Of a Dask scheduler, such as tcp://10.0.0.5:8786.")] = None,
) -> None:
    """Compare recipes: languages x recipes x seeds as one DAG, shared steps made once."""
    from ndogo.registry.languages import language as find_language
    from ndogo.registry.recipes import recipe as find_recipe

    names = {"languages": languages.split(","), "recipes": recipes.split(",")}
    for name in names["languages"]:
        find_language(name)
    for name in names["recipes"]:
        find_recipe(name)
    with _without_server(shared=runner == "dask"):
        from ndogo import show
        from ndogo.flows.sweep import dask
        from ndogo.flows.sweep import sweep as flow
        from ndogo.tasks import comparison

        chosen = dask(flow, address) if runner == "dask" else flow
        numbers = [int(seed) for seed in seeds.split(",")]
        rows, folder = chosen(names["languages"], names["recipes"], numbers, profile, teacher)
        show.sweep(comparison.markdown(rows), folder)


def sync() -> None:
    """Deliver to MLflow what it missed while it could not be reached, models that are to be registered included."""
    from ndogo.tasks import notes, publication

    done, failed = notes.sync()
    for told in publication.register_missed():
        typer.echo(told)
    typer.echo(f"{done} delivered, {failed} still waiting")
    if failed:
        raise typer.Exit(1)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="Any Hugging Face encoder directory.")],
    language: Annotated[str, typer.Option(help="Whose benchmarks.")],
    teacher: Annotated[Path | None, typer.Option(help="Compare with this model: retention with its interval.")] = None,
    profile: Annotated[Profile | None, typer.Option(help="Where text and benchmarks come from.")] = None,
    mode: Annotated[str, typer.Option(help="probe: frozen encoder, fast; finetune: all weights.")] = "probe",
    out: Annotated[Path | None, typer.Option(help="Write report.html, .md, .json and .png here.")] = None,
) -> None:
    """Judge any model on a language's benchmarks, alone or against its teacher."""
    from ndogo import show
    from ndogo.core.models import load_config
    from ndogo.evaluation import (
        Entry,
        EvaluationSettings,
        LanguageModelSettings,
        Role,
        cost,
        language_model_quality,
        rich_table,
        summary,
        write_report,
    )
    from ndogo.evaluation import evaluate as judge
    from ndogo.registry.benchmarks import benchmarks
    from ndogo.registry.corpora import corpus, default_profile
    from ndogo.registry.languages import language as find_language
    from ndogo.steps.recipe import validated

    settings = validated(EvaluationSettings, {"mode": mode}, "the command line")
    source = profile or default_profile(find_language(language))
    rows, held_out = benchmarks(language, source), corpus(language, source).held_out
    title = f"{model.name}, {language}"
    with show.progress() as report:
        costs = cost(model, teacher, report=report)

        def entry(folder: Path, role: Role, part: str) -> Entry:
            masked = (load_config(folder).architectures or [""])[0].endswith("ForMaskedLM")
            quality = language_model_quality(folder, held_out, LanguageModelSettings(), report) if masked else None
            return Entry(folder.name, role, judge(folder, rows, settings, report), costs[part], quality)

        entries = [entry(teacher, "original", "teacher")] if teacher else []
        entries.append(entry(model, "student", "student"))
    made = write_report(title, entries, out) if out else summary(title, entries)
    show.console.print(rich_table(made))
    for sentence in made["sentences"]:
        show.console.print(sentence)


def compare(
    language: Annotated[str, typer.Option(help="A language; `ndogo languages` lists them.")],
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("compare.png"),
) -> None:
    """Which recipe keeps most at which size: all finished runs of a language, as a table and a picture."""
    from ndogo import show
    from ndogo.registry.languages import language as find_language
    from ndogo.tasks import notes, pictures

    find_language(language)
    records = notes.finished(language)
    show.comparison(language, records)
    out.write_bytes(pictures.landscape(records, language))
    typer.echo(f"written to {out}")


def history(
    name: Annotated[str, typer.Argument(help="A registered model, such as ndogo-swahili-two-step-pocket.")],
) -> None:
    """The versions of a registered model, newest first, with the gate's word on each."""
    from ndogo import show
    from ndogo.registry import model_registry

    show.versions(name, model_registry.versions(name))


def promote(
    name: Annotated[str, typer.Argument(help="A registered model.")],
    version: Annotated[str, typer.Option(help="Default: the challenger.")] = "",
) -> None:
    """Make a version the champion, whatever the gate said."""
    from ndogo.core.errors import NdogoError
    from ndogo.registry import model_registry

    challenger = model_registry.by_alias(name, model_registry.CHALLENGER)
    known = [v.version for v in model_registry.versions(name)]
    chosen = version or (challenger.version if challenger else "")
    if str(chosen) not in map(str, known):
        raise NdogoError(
            f"{name} has no version `{chosen}`.",
            where="--version",
            cure=f"Known: {', '.join(map(str, known)) or 'none'}.",
        )
    model_registry.promote(name, str(chosen), {"gate": "overruled by hand"})
    typer.echo(f"{name} version {chosen} is the champion")


def clean(
    keep: Annotated[float, typer.Option(help="Keep what was used in so many days.")] = 30.0,
    dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False,
) -> None:
    """Remove old bundles that no champion or challenger descends from, and what crashes left."""
    from ndogo.registry.bundles import Store
    from ndogo.registry.cleaning import clean as remove

    gone = remove(Store(), keep, pretend=dry_run)
    for folder in gone:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {folder}")
    typer.echo(f"{len(gone)} folders")


@contextlib.contextmanager
def _without_server(*, shared: bool = False) -> Iterator[None]:
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
    import sklearn.linear_model  # noqa: F401  # only to be loaded, as the next
    import transformers.models.xlm_roberta.modeling_xlm_roberta  # noqa: F401  # with torch; the pocket teacher's kind

    from ndogo.registry.bundles import Store
    from ndogo.tasks import tracking

    tracking.prepare(Store())
