"""A sweep's recipes side by side: means over seeds with their intervals, a page, a picture, and a link to the runs in MLflow."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

from ndogo.evaluation import retention
from ndogo.evaluation.summary import MODES, NOT_COMPARABLE, VECTOR_NAMES
from ndogo.registry import model_registry
from ndogo.registry.bundles import Store, canonical
from ndogo.steps.recipe import ORIGINAL
from ndogo.tasks import pictures, tracking
from ndogo.tasks.cards import evaluation_of
from ndogo.tasks.run_record import RunRecord, SweepRow, run_of

PAGE, PICTURE = "sweep.md", "size-and-quality.png"


def rows(store: Store, records: Sequence[RunRecord]) -> list[SweepRow]:
    """One row per language and recipe, over all its seeds.

    :raises NdogoError: an evaluation was lost, or the runs were not judged alike.
    """
    ordered = sorted(records, key=lambda r: (r.language, r.recipe))
    grouped = itertools.groupby(ordered, key=lambda r: (r.language, r.recipe))
    found = [_row(store, language, recipe, list(group)) for (language, recipe), group in grouped]
    return [replace(row, front=on_the_front(row, found)) for row in found]


def _row(store: Store, language: str, recipe: str, same: Sequence[RunRecord]) -> SweepRow:
    students = [evaluation_of(store, record.evaluations[record.last].key) for record in same]
    own = students[0].settings.mode == "own"  # then the first model with a head is what students are measured against
    guides = [run_of(record, store).reference if own else ORIGINAL for record in same]
    teachers = [evaluation_of(store, r.evaluations[name].key) for r, name in zip(same, guides, strict=True)]
    compared, first = retention(students, teachers), same[0]
    mean = compared.mean
    return SweepRow(
        language=language,
        recipe=recipe,
        seeds=len(same),
        notice=first.notice,
        params=int(first.summary["params"]),
        compression_ratio=first.summary["compression_ratio"],
        benchmarks=tuple(compared.benchmarks),
        mode=students[0].settings.mode,
        score=mean.student if mean else None,
        retention=mean.retention if mean else None,
        interval=mean.retention_interval if mean else None,
        covers=compared.covers,
        vectors={name: (kept.retention, kept.retention_interval) for name, kept in compared.vectors.items()},
    )


def on_the_front(row: SweepRow, found: Sequence[SweepRow]) -> bool:
    """Whether nothing of the row's size or smaller retains more of the same language; what is not comparable never does."""
    if row.retention is None:
        return False
    return not any(
        other.language == row.language
        and other.params <= row.params
        and other.retention is not None
        and other.retention > row.retention
        for other in found
    )


def markdown(found: Sequence[SweepRow]) -> str:
    """The rows as a table, narrow enough for a terminal."""
    measures = list(dict.fromkeys(measure for row in found for measure in row.vectors))
    heads = ["language", "recipe", "parameters", "smaller", "score", "retention", *(VECTOR_NAMES[m] for m in measures)]
    lines = [_line(heads), _line(["---", "---", *["---:"] * (len(heads) - 2)])]
    for row in found:
        name = f"**{row.recipe}**" if row.front else row.recipe
        sizes = [row.language, name, f"{row.params:,}", f"{row.compression_ratio:.1f}x"]
        lines.append(
            _line([*sizes, *_shown(row), *(_kept(*row.vectors[m]) if m in row.vectors else "-" for m in measures)])
        )
    said = {
        "Scores": sorted({f"mean of {', '.join(row.benchmarks)}, {MODES[row.mode]}" for row in found}),
        "95% intervals cover": sorted({row.covers for row in found}),
    }
    about = " ".join(f"{what}: {'; '.join(how)}." for what, how in said.items())
    below = [f"{about} Bold: nothing of that size or smaller retains more."]
    return "\n\n".join(["\n".join(lines), *below, *sorted({row.notice for row in found if row.notice})])


def _shown(row: SweepRow) -> tuple[str, str]:
    if row.score is None or row.retention is None or row.interval is None:
        return "-", NOT_COMPARABLE
    return f"{100 * row.score:.1f}", _kept(row.retention, row.interval)


def _kept(share: float, interval: tuple[float, float]) -> str:
    low, high = (100 * end for end in interval)
    return f"{100 * share:.1f}% [{low:.1f}, {high:.1f}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def with_failures(page: str, failed: Mapping[str, str]) -> str:
    """A page, and below it the runs that failed, each with why."""
    return "\n".join([page, *(f"\n- **{name} failed**: {why}" for name, why in failed.items())])


def publish(store: Store, records: Sequence[RunRecord], failed: Mapping[str, str]) -> tuple[list[SweepRow], Path]:
    """The rows, and the folder with their page and picture, which MLflow gets as well. The same sweep again replaces it."""
    found, name = rows(store, records), name_of(records)
    folder = store.folder / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PICTURE).write_bytes(pictures.front(found))
    side_by_side = f"[The runs side by side in MLflow]({link(records, model_registry.tracking_uri(store))})"
    page = [f"# {name}", with_failures(markdown(found), failed), f"![Size and quality]({PICTURE})", side_by_side]
    (folder / PAGE).write_text("\n\n".join(page) + "\n", encoding="utf-8")
    keys = ("language", "recipe", "profile", "seed")
    asked = {key: ",".join(sorted({str(getattr(record, key)) for record in records})) for key in keys}
    retained = {f"retention/{r.language}/{r.recipe}": r.retention for r in found if r.retention is not None}
    retained |= {f"{m}_kept/{r.language}/{r.recipe}": kept for r in found for m, (kept, _) in r.vectors.items()}
    tracking.deliver_sweep(name, folder, asked, retained, store)
    return found, folder


def name_of(records: Sequence[RunRecord]) -> str:
    """A sweep's name, by all that was asked for."""
    asked = sorted(canonical([record.run | {"id": ""}, record.recipe_text]) for record in records)
    return f"sweep-{hashlib.sha256(canonical(asked).encode()).hexdigest()[:8]}"


def link(records: Sequence[RunRecord], server: str) -> str:
    """MLflow's own page that compares the runs of these records, of several experiments too."""
    sent = [(record.mlflow.experiment, record.mlflow.parent.run_id) for record in records if record.mlflow.parent]
    asked = {
        "runs": canonical([run for _, run in sent]),
        "workflowType": "machine_learning",
        "experiments": canonical(sorted({experiment for experiment, _ in sent})),
    }
    return f"{server if server.startswith('http') else model_registry.ADDRESS}/#/compare-runs?{urlencode(asked)}"
