"""The first question of everyone with a language: which teacher, how small, and is this text enough?"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from ndogo.show import console

if TYPE_CHECKING:
    from ndogo.registry.advice import Advice
    from ndogo.registry.survey import Survey


def advise(
    text: Annotated[str, typer.Argument(help="Raw text, as for --corpus: a file, a folder, or hf:ID:CONFIG:SPLIT.")],
    teachers: Annotated[
        list[Path] | None,
        typer.Option(help="Folders with tokenizers, beside those in the Hugging Face cache; again for more."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a page.")] = False,
) -> None:
    """Show what a text needs of each teacher, and what each recipe would make of it. No weights are loaded or fetched."""
    from ndogo.registry.advice import advise as ask
    from ndogo.registry.advice import known_teachers
    from ndogo.registry.corpora import corpus_of
    from ndogo.registry.survey import read_some, survey

    found, missing = known_teachers(teachers or [])
    lines, whole = read_some(corpus_of(text)())
    seen = survey(lines, whole=whole)
    answers, problems = ask(found, lines, seen)
    if as_json:
        content = {
            "text": asdict(seen),
            "teachers": list(map(asdict, answers)),
            "problems": problems,
            "missing": missing,
        }
        console.file.write(json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")
        return
    _page(text, seen, answers)
    for name, problem in problems.items():
        console.print(f"{name}: {problem}", highlight=False)
    _next(text, answers, missing)


def _page(text: str, seen: "Survey", answers: "Sequence[Advice]") -> None:
    scripts = ", ".join(f"{name.capitalize()} {share:.1%}" for name, share in seen.scripts.items() if share >= 0.001)
    read = "" if seen.whole else "The first "
    amount = f"{read}{seen.lines:,} lines, {seen.words:,} words, {seen.characters:,} characters"
    console.print(f"{text}: {amount}; {scripts or 'no letters'}", highlight=False)
    for warning in seen.warnings:
        console.print(f"! {warning}", highlight=False, markup=False)
    if not answers:
        return
    per = "tokens/word" if seen.spaced else "characters/token"
    split = _table("Tokenizers", per, "unknown", "letters", *(f"rows {share:.2%}" for share in answers[0].rows))
    by_support: dict[str, list[Advice]] = {}
    for advice in answers:
        shown = advice.tokens_per_word if seen.spaced else advice.characters_per_token
        rows = (f"{count:,}" for count in advice.rows.values())
        split.add_row(advice.name, f"{shown:.2f}", f"{advice.unknown:.2%}", f"{advice.letters:.1%}", *rows)
        by_support.setdefault(advice.support, []).append(advice)
    console.print(split)
    for support, alike in by_support.items():
        recipes = list(dict.fromkeys(name for advice in alike for name in advice.sizes))
        sizes = _table(
            f"Millions of parameters ({support})", "now", *(name.replace("ndogo-", "ndogo-\n") for name in recipes)
        )
        for advice in alike:
            after = (_millions(advice.sizes.get(name, 0)) for name in recipes)
            sizes.add_row(advice.name, _millions(advice.params), *after)
        console.print(sizes)


def _table(title: str, *columns: str) -> Table:
    """An empty table of teachers with columns of numbers."""
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    made.add_column("teacher", no_wrap=True)
    for column in columns:
        made.add_column(column, justify="right")
    return made


def _millions(params: int) -> str:
    return f"{params / 1e6:.1f}" if params else "-"


def _next(text: str, answers: "Sequence[Advice]", missing: Sequence[str]) -> None:
    from ndogo.registry.advice import sentences
    from ndogo.registry.teachers import teacher, teacher_names

    best = next((advice for advice in answers if advice.sizes), None)
    if best:
        for sentence in sentences(best):
            console.print(sentence, highlight=False)
    if missing:
        console.print(f"Not here, and not fetched: {', '.join(missing)}.", highlight=False)
        files = '--include "*.json" "*.model" "vocab.txt"'
        console.print(f"Their tokenizers alone: hf download {teacher(missing[0]).hub} {files}", highlight=False)
    if best:
        named = best.name in teacher_names() and "snapshots" in best.folder.parts
        guide = teacher(best.name).hub if named else best.folder
        console.print(f"Next: ndogo languages add --name NAME --corpus {text} --teacher {guide}", soft_wrap=True)
        console.print(f"      ndogo compress NAME --recipe {next(iter(best.sizes))}", soft_wrap=True)
