"""Tables and progress on the terminal."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ndogo.core.download import WEIGHT_BYTES
from ndogo.core.progress import Report

if TYPE_CHECKING:
    from ndogo.registry.bundles import Store
    from ndogo.registry.languages import Added
    from ndogo.registry.model_registry import Version
    from ndogo.steps.plan import Planned
    from ndogo.steps.recipe import Recipe
    from ndogo.tasks.run_record import RunRecord

console = Console()
ASK = {"mlm": ("fill", "text with a <mask>"), "tags": ("tag", "a text"), "classes": ("classify", "a text")}
"""The command that an export's head is there for, and what it is given."""


def plan_table(recipe: "Recipe", teacher: str, rows: "list[Planned]") -> None:
    """A plan as a table."""
    table = Table(
        title=f"{recipe.name} on {teacher}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False
    )
    for column in ("step", "shape", "FFN", "rows", "parameters", "smaller", "MB 32/16/8", "peak"):
        table.add_column(column, justify="left" if column == "step" else "right", no_wrap=True)
    for row in rows:
        shape = row.shape
        table.add_row(
            row.id,
            f"{shape.layers}x{shape.hidden}",
            f"{shape.ffn:,}",
            f"{'≤ ' if row.at_most else ''}{shape.vocab:,}",
            f"{row.params:,}",
            f"{row.ratio:.2f}x",
            "/".join(f"{row.size_mb(dtype):.0f}" for dtype in WEIGHT_BYTES),
            f"{row.peak_bytes / 1e9:.1f}G" if row.peak_bytes else "",
        )
    console.print(table)
    tokenizer = "and tokenizer" if rows[0].tokenizer_bytes else "alone: the teacher's tokenizer is not here"
    console.print(f"MB: weights as fp32, fp16, int8 {tokenizer}. {recipe.about}", highlight=False)
    if bound := next((row for row in rows if row.at_most), None):
        console.print(f"≤: at most {bound.shape.vocab:,} rows; --corpus counts them", highlight=False)


def plan_json(rows: "list[Planned]") -> None:
    """A plan as JSON on standard output."""
    fields = (
        "id",
        "kind",
        "params",
        "params_encoder",
        "params_embedding",
        "ratio",
        "vocabulary",
        "peak_bytes",
        "head",
        "at_most",
    )
    shown = [
        {name: getattr(row, name) for name in fields}
        | row.shape.__dict__
        | {f"mb_{dtype}": row.size_mb(dtype) for dtype in WEIGHT_BYTES}
        for row in rows
    ]
    console.file.write(json.dumps(shown, indent=1) + "\n")


def recipes_table() -> None:
    """The recipes, a line each; names are never cut short."""
    from ndogo.registry.recipes import recipe, recipe_names

    table = _plain_table("recipe", "steps", "about")
    for name in recipe_names():
        found = recipe(name)
        table.add_row(name, " > ".join(s.kind for s in found.steps), found.about)
    console.print(table)


def languages_table() -> None:
    """The languages, a line each."""
    from ndogo.registry.corpora import default_profile
    from ndogo.registry.languages import languages

    table = _plain_table("language", "name", "nightly in", "profile", "members")
    for name, entry in languages().items():
        title = "" if entry.members else entry.title  # a group's is its members' names
        zone = entry.timezone if entry.nightly else ""
        table.add_row(name, title, zone, default_profile(entry), ", ".join(entry.members))
    console.print(table)


def _plain_table(*columns: str) -> Table:
    """A table that tells its rows apart in 80 columns: only the last column is broken into lines."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in ("recipe", "language", "nightly in"), overflow="fold")
    return table


def added(name: str, found: "Added") -> None:
    """What was found of a language that was added, what is missing, and what comes next."""
    console.print(f"Added {name} ({found.file})", soft_wrap=True, highlight=False)
    text = (
        f"{found.lines:,} lines, {found.characters / 1e6:.2f} million characters; {found.held_out:,} lines only judge"
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("text", text)
    for benchmark, rows in found.rows.items():
        table.add_row(benchmark, ", ".join(f"{split} {number:,}" for split, number in rows.items()) + " rows")
    for benchmark, why in found.missing.items():
        table.add_row(benchmark, f"missing: {why}")
    console.print(table, highlight=False)
    if not found.held_out:
        console.print("No line is held out: of text so short, language-model quality cannot be measured.")
    if not found.rows:
        console.print("Without a benchmark nothing can be judged: add it again with --benchmarks before you compress.")
    console.print(f"Now: ndogo compress {name}", highlight=False)
    console.print(f"`ndogo serve` shows it as compress/{name} from its next start on.", highlight=False)


def result(store: "Store", run_id: str) -> None:
    """What a run made, step by step, and where to look."""
    from ndogo.tasks.run_record import RUNS, RunRecord
    from ndogo.tasks.table import cells, legend

    record = store.read_record(RUNS, run_id, RunRecord)
    assert record is not None and record.report is not None, "the run has just ended"
    heads, body = cells(record)
    shown = Table(title=record.name, box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for head in heads:
        shown.add_column(head, justify="left" if head == "step" else "right", no_wrap=True)
    for row in body:
        shown.add_row(*row)
    console.print(shown)
    console.print(legend(record), highlight=False)
    if record.notice:
        console.print(record.notice)
    for sentence in record.report.sentences:
        console.print(f"- {sentence}", highlight=False)
    console.print(f"model   {store.path(record.steps[record.last].key)}", soft_wrap=True)
    console.print(f"report  {Path(record.report.folder) / 'report.html'}", soft_wrap=True)
    for step in record.steps.values():
        opening(store.path(step.key))
    console.print(f"compare make serve, then the MLflow address that it prints; experiment compress/{record.language}")
    console.print("yours   ndogo advise TEXT says which teacher and recipe fit a text of yours", highlight=False)


def made(path: "Path", numbers: Mapping[str, object]) -> None:
    """What a step that ran alone measured, with its certificate where it wrote one, and where the result lies."""
    certificate = path / "certificate.md"
    if certificate.is_file():
        markdown(certificate.read_text(encoding="utf-8"))
    for name, value in numbers.items():
        console.print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    console.print(f"written to {path}")
    opening(path)


def opening(folder: "Path") -> None:
    """How to use what an export wrote; nothing for another model."""
    from ndogo.core.exported import FOLDER, MANIFEST, WEB

    if (folder / FOLDER).is_dir():
        head = json.loads((folder / FOLDER / MANIFEST).read_text(encoding="utf-8"))["head"]
        command, text = ASK.get(head, ("embed", "a text"))
        console.print(f"run     ndogo {command} {folder} '{text}'; `ndogo --help` lists the others", soft_wrap=True)
    if (folder / WEB).is_dir():
        serve = f"python3 -m http.server 8000 --directory {folder / WEB}"
        console.print(f"page    {serve}, then open http://localhost:8000", soft_wrap=True)


def markdown(text: str) -> None:
    """A Markdown text, as a terminal shows it."""
    from rich.markdown import Markdown

    console.print(Markdown(text))


def sweep(table: str, folder: "Path") -> None:
    """The table of a sweep, and where its page and picture lie."""
    from ndogo.tasks.comparison import PAGE, PICTURE

    markdown(table)
    console.print(f"page    {folder / PAGE}, with the link that compares the runs in MLflow", soft_wrap=True)
    console.print(f"picture {folder / PICTURE}", soft_wrap=True)


def comparison(language: str, records: "Sequence[RunRecord]") -> None:
    """The finished runs of a language, smallest first."""
    title = f"compress/{language}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    columns = ("recipe", "seed", "profile", "params", "MB", "ratio", "retention", "95%", "score")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number > 2 else "left", no_wrap=True)
    for record in records:
        summary = record.summary
        table.add_row(
            record.recipe,
            str(record.seed),
            record.profile,
            f"{summary['params'] / 1e6:.2f}M",
            f"{summary['size_mb']:.1f}",
            f"{summary['compression_ratio']:.1f}x",
            *_retained(summary),
        )
    console.print(table)


def _retained(summary: Mapping[str, float]) -> tuple[str, str, str]:
    """Retention, its interval and the mean score; nothing but a word where the means are not comparable."""
    if "retention" not in summary:
        return "not comparable", "", ""
    low, high = 100 * summary["retention_low"], 100 * summary["retention_high"]
    return f"{100 * summary['retention']:.1f}%", f"{low:.1f}-{high:.1f}", f"{100 * summary['score']:.1f}"


def versions(name: str, found: "Sequence[Version]") -> None:
    """The versions of a registered model: one row each, and below the table why the gate refused one."""
    table = Table(title=name, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    columns = ("recipe", "seed", "score", "size_mb", "bundle", "gate")
    for column in ("version", "alias", *columns):
        table.add_column("MB" if column == "size_mb" else column)
    for version in found:
        table.add_row(version.version, "\n".join(version.aliases), *(version.tags.get(tag, "") for tag in columns))
    console.print(table)
    for version in found:
        if reasons := version.tags.get("refused"):
            console.print(f"version {version.version} was refused: {reasons}", highlight=False)


@contextlib.contextmanager
def progress() -> Iterator[Report]:
    """A progress bar per kind of work, with rate, time left and the newest numbers."""
    from ndogo.core.screen import live

    with live(Console(stderr=True)) as report:
        yield report
