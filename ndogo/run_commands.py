"""Commands that run recipes and look at what came of them."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from ndogo.budget_command import DTYPE, Dtype, Wanted, make_recipe
from ndogo.evaluation import EvaluationSettings, Mode
from ndogo.push import push
from ndogo.registry.corpora import Profile
from ndogo.servers import serve

PANEL = "Runs"
Runner = Literal["here", "dask"]

HOW = "How models are judged; default: own, their task head's answers, where the recipe makes a task model, else probe."
Language = Annotated[str, typer.Argument(help="A language; `ndogo languages` lists them.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (compress, sweep, evaluate, compare, push, serve, history, promote, sync, clean):
        app.command(rich_help_panel=PANEL)(command)


def compress(
    language: Language,
    recipe: Annotated[str, typer.Option(help="A recipe's name, or a .yaml file.")] = "ndogo-small",
    profile: Annotated[Profile | None, typer.Option(help="Where teacher, text and benchmarks come from.")] = None,
    teacher: Annotated[str, typer.Option(help="A model directory; default: the profile's own.")] = "",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    mode: Annotated[Mode | None, typer.Option(help=HOW, show_default=False)] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also make what the recipe must beat.")] = False,
    budget: Annotated[str, typer.Option(help="Instead of a recipe: 20MB to download, 12M parameters or 5ms.")] = "",
    dtype: Annotated[Dtype, typer.Option(help=DTYPE)] = "fp32",
) -> None:
    """Make a small model of a language: the whole pipeline, without any server running."""
    from ndogo import api, show
    from ndogo.registry.bundles import open_store

    if budget:
        recipe = make_recipe(Wanted(language, budget, dtype, profile, teacher))
    made = api.compress(language, recipe, profile=profile, teacher=teacher, seed=seed, mode=mode, baselines=baselines)
    show.result(open_store(), made.run)


def sweep(  # its parameters are the command's options
    file: Annotated[str, typer.Argument(help="A sweep of recipes/sweeps/, by name, or a file like them.")] = "",
    size: Annotated[
        Literal["small", "full"], typer.Option(help="Of a sweep file: small, for two cores, or full.")
    ] = "small",
    languages: Annotated[str, typer.Option(help="Comma-separated.")] = "",
    recipes: Annotated[str, typer.Option(help="Comma-separated, in place of a file.")] = "",
    seeds: Annotated[str, typer.Option(help="Comma-separated. Default: 0,1,2, or those of the file.")] = "",
    profile: Annotated[Profile | None, typer.Option(help="Where teacher, text and benchmarks come from.")] = None,
    teacher: Annotated[str, typer.Option(help="A model directory; default: the profile's own.")] = "",
    tokens: Annotated[int | None, typer.Option(min=1, help="Each training reads at most so many tokens.")] = None,
    runner: Annotated[
        Runner, typer.Option(help="dask: a local cluster, or one that runs already (--address).")
    ] = "here",
    address: Annotated[str | None, typer.Option(help="Of a Dask scheduler, such as tcp://10.0.0.5:8786.")] = None,
) -> None:
    """Compare recipes: languages x recipes x seeds as one DAG, shared steps made once."""
    asked = _swept(file, size, languages, recipes, seeds)
    from ndogo import show
    from ndogo.flows.without_server import without_server

    with without_server():
        from ndogo.flows.sweep import dask
        from ndogo.flows.sweep import sweep as flow
        from ndogo.tasks import comparison

        chosen = dask(flow, address) if runner == "dask" else flow
        swept = chosen(
            asked.languages, asked.recipes, asked.seeds, profile, teacher, asked.judging, tokens or asked.tokens
        )
        if asked.question:
            show.console.print(f"{asked.question}\n")
        show.sweep(comparison.with_failures(comparison.markdown(swept.rows), swept.failed), swept.folder)
    if swept.failed:
        raise typer.Exit(1)


class _Swept(NamedTuple):
    """What a sweep is to run."""

    languages: list[str]
    recipes: list[str]
    seeds: list[int]
    judging: EvaluationSettings = EvaluationSettings()
    tokens: int | None = None
    question: str = ""


def _swept(file: str, size: Literal["small", "full"], languages: str, recipes: str, seeds: str) -> _Swept:
    """The file's question at a size, or the languages and recipes that were listed; what is listed goes before it.

    :raises NdogoError: neither or both, or a name that nothing has.
    """
    from ndogo.core.errors import NdogoError
    from ndogo.registry.languages import language as find_language
    from ndogo.registry.recipes import recipe as find_recipe
    from ndogo.registry.recipes import sweep as find_sweep
    from ndogo.registry.recipes import write_arms

    if bool(file) == bool(recipes) or not (file or languages):
        raise NdogoError(
            "A sweep needs a file, or --languages and --recipes.",
            where="ndogo sweep",
            cure="ndogo sweep two-step-loss, or ndogo sweep --languages swahili --recipes trim-only,ndogo-small",
        )
    named = languages.split(",") if languages else []
    for name in named:
        find_language(name)
    if not file:
        for name in recipes.split(","):
            find_recipe(name)
        return _Swept(named, recipes.split(","), _seeds(seeds or "0,1,2"))
    found = find_sweep(file)
    chosen = found.small if size == "small" else found.full
    numbers = _seeds(seeds) if seeds else list(chosen.seeds)
    return _Swept(
        named or list(chosen.languages),
        write_arms(found, chosen),
        numbers,
        chosen.judging,
        chosen.tokens,
        found.question,
    )


def _seeds(given: str) -> list[int]:
    from ndogo.core.errors import NdogoError

    numbers = given.split(",")
    if (bad := next((number for number in numbers if not number.strip().isdecimal()), None)) is not None:
        raise NdogoError(f"`{bad}` is no seed.", where="--seeds", cure="Write whole numbers: --seeds 0,1,2.")
    return [int(number) for number in numbers]


def sync() -> None:
    """Deliver to MLflow what it missed while it could not be reached, models that are to be registered included."""
    from ndogo.registry.bundles import open_store
    from ndogo.tasks import notes, publication

    store = open_store()
    done, failed = notes.sync(store)
    for told in publication.register_missed(store):
        typer.echo(told)
    typer.echo(f"{done} delivered, {failed} still waiting")
    if failed:
        raise typer.Exit(1)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="Any Hugging Face encoder directory.")],
    language: Annotated[str, typer.Option(help="Whose benchmarks.")],
    teacher: Annotated[Path | None, typer.Option(help="Compare with this model: retention with its interval.")] = None,
    profile: Annotated[Profile | None, typer.Option(help="Where text and benchmarks come from.")] = None,
    mode: Annotated[
        Mode, typer.Option(help="probe: frozen encoder, fast; finetune: all weights; own: its head; adapter: adapters.")
    ] = "probe",
    reduction: Annotated[int, typer.Option(help="adapter: how many times narrower than the encoder they are.")] = 16,
    out: Annotated[Path | None, typer.Option(help="Write report.html, .md, .json and .png here.")] = None,
) -> None:
    """Judge any model on a language's benchmarks, alone or against its teacher."""
    from ndogo import api, show
    from ndogo.evaluation import rich_table

    with show.progress() as report:
        made = api.evaluate(
            model, language, teacher=teacher, profile=profile, mode=mode, reduction=reduction, out=out, report=report
        )
    show.console.print(rich_table(made))
    for sentence in made.sentences:
        show.console.print(sentence)


def compare(
    language: Annotated[str, typer.Option(help="A language; `ndogo languages` lists them.")],
    out: Annotated[Path | None, typer.Option(help="Also write the picture here, as a PNG.")] = None,
) -> None:
    """Which recipe retains most at which size: all finished runs of a language, as a table; as a picture with --out."""
    from ndogo import show
    from ndogo.registry.bundles import open_store
    from ndogo.registry.languages import language as find_language
    from ndogo.tasks import notes, pictures

    find_language(language)
    records = notes.finished(open_store(), language)
    show.comparison(language, records)
    if out:
        out.write_bytes(pictures.landscape(records, language))
        typer.echo(f"written to {out}")


def history(
    name: Annotated[str, typer.Argument(help="A registered model, such as ndogo-swahili-two-step-pocket.")],
) -> None:
    """The versions of a registered model, newest first, with their aliases and the gate's word on each."""
    from ndogo import show
    from ndogo.core.errors import unknown
    from ndogo.registry import model_registry
    from ndogo.registry.bundles import open_store

    store = open_store()
    found = model_registry.versions(store, name)
    if not found:
        raise unknown("registered model", name, model_registry.names(store), where="NAME", otherwise="Make one.")
    show.versions(name, found)


def promote(
    name: Annotated[str, typer.Argument(help="A registered model.")],
    version: Annotated[str, typer.Option(help="Default: the challenger.")] = "",
    reference: Annotated[bool, typer.Option("--reference", help="Also make it the gate's fixed reference.")] = False,
) -> None:
    """Make a version the champion, whatever the gate said."""
    from ndogo.core.errors import NdogoError
    from ndogo.registry import model_registry
    from ndogo.registry.bundles import open_store
    from ndogo.tasks.gate import crowned_of

    store = open_store()
    known = {v.version: v for v in model_registry.versions(store, name)}
    challenger = model_registry.by_alias(store, name, model_registry.CHALLENGER)
    chosen = known.get(version or (challenger.version if challenger else ""))
    if chosen is None:
        raise NdogoError(
            f"{name} has no version `{version}`.",
            where="--version",
            cure=f"Known: {', '.join(known) or 'none'}.",
        )
    model_registry.promote(store, name, chosen.version, crowned_of(store, chosen), reference=reference)
    model_registry.note(store, name, chosen.version, {"gate": "overruled by hand"}, "overruled by hand.")
    typer.echo(f"{name} version {chosen.version} is the champion{' and the reference' if reference else ''}")


def clean(
    keep: Annotated[float, typer.Option(min=0, help="Keep what was used in so many days.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove old bundles that no champion, reference or challenger needs, MLflow's copies of them, and what crashes left.

    First it says what would go, and asks.
    """
    from ndogo.registry.bundles import open_store
    from ndogo.registry.cleaning import clean as remove
    from ndogo.registry.cleaning import freed

    store = open_store()
    gone = remove(store, keep, pretend=True)
    for one in gone:
        typer.echo(one.path)
    for kind, (folders, size) in freed(gone).items():
        typer.echo(f"{kind:16} {folders:5} folders  {size / 1e6:10.1f} MB")
    if not gone:
        typer.echo("Nothing is to be removed.")
    elif dry_run:
        typer.echo("Nothing was removed (--dry-run).")
    elif yes or typer.confirm("Remove them?"):
        typer.echo(f"{len(remove(store, keep))} folders removed")
