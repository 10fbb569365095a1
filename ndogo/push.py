"""The command that takes a model to the hub."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ndogo.registry.bundles import Store


def push(
    model: Annotated[
        str, typer.Argument(help="A finished run, such as swahili-ndogo-small-0, its model's name, or a bundle.")
    ],
    to: Annotated[str, typer.Option(help="The repository: user/name.")],
    stated_license: Annotated[
        str, typer.Option("--license", help="Stricter than the teacher's, as the text may ask.")
    ] = "",
    int8: Annotated[
        bool, typer.Option("--int8", help="Only the int8 file of the run's export, without other weights.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the folder, and send nothing.")] = False,
) -> None:
    """Publish a model on the hub, with a card made from its lineage. Pushing the same again changes nothing."""
    from ndogo.registry.bundles import open_store
    from ndogo.registry.push import check_login, check_target
    from ndogo.registry.push import push as send

    check_target(to)
    if not dry_run:
        check_login(to)
    folder = write_folder(open_store(), model, to, stated_license, int8=int8)
    if dry_run:
        typer.echo(f"Written to {folder}; nothing was sent.")
        return
    address, changed = send(folder, to)
    typer.echo(f"Pushed: {address}" if changed else f"Nothing has changed: {address}")


def write_folder(store: "Store", model: str, to: str, stated_license: str, *, int8: bool = False) -> Path:
    """The folder that is pushed: the bundle's files and the card, made anew; of an int8 push no weights but the int8 file's.

    :raises NdogoError: no run made the model, or it has no int8 file.
    """
    from ndogo.compressors.export.bundle import keep_only
    from ndogo.core.exported import WEB
    from ndogo.registry.card import card
    from ndogo.tasks.cards import facts_of, int8_bundle, run_that_made

    record = run_that_made(store, model)
    folder = store.folder / "push" / to.replace("/", "--")
    facts = facts_of(store, record, to, stated_license)
    source, left = store.path(record.steps[record.last].key), []
    if int8:
        source, left = int8_bundle(store, record), ["*.safetensors", WEB]
        facts = replace(facts, relation="quantized")
    text = card(facts)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*left))
    if int8:
        keep_only(folder, "int8")
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder
