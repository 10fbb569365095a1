"""What the exported file of a run costs beside its teacher, and beside the teacher that was only trimmed, as an int8 file too."""

import hashlib
import json
import logging
import platform
import tempfile
from pathlib import Path

import numpy as np

from ndogo.core.errors import NdogoError
from ndogo.core.exported import FOLDER, MANIFEST
from ndogo.core.frozen import Frozen
from ndogo.evaluation.judge import versions
from ndogo.registry.bundles import canonical
from ndogo.registry.corpora import corpus
from ndogo.registry.hub import Hub
from ndogo.steps.recipe import ORIGINAL
from ndogo.tasks.run import Run

log = logging.getLogger("ndogo.shipping")

LINES = 16
"""Lines on which the trimmed teacher's file is compared with PyTorch: enough to see that it works."""


class Shipping(Frozen):
    """A file beside what else one could ship; milliseconds of one row of 128 tokens through the encoder, on one thread."""

    file: str
    file_mb: float
    """Megabytes of the exported file."""
    file_ms: float
    """Its milliseconds."""
    teacher_mb: float
    teacher_ms: float
    """Of the untouched teacher in PyTorch."""
    over_teacher: float
    """How many times faster the file is, as the median turn by turn."""
    trimmed_mb: float | None = None
    """Of the trimmed teacher in int8, in the same runtime; None where the recipe does not trim the teacher."""
    trimmed_ms: float | None = None
    """Its milliseconds."""
    over_trimmed: float | None = None
    """How many times faster than it the exported file is."""

    def numbers(self) -> dict[str, float]:
        """What the run's summary carries."""
        found = self.model_dump(exclude={"file", "teacher_mb", "teacher_ms"}, exclude_none=True)
        return {f"export_{name}": value for name, value in found.items()}


def shipping(run: Run) -> Shipping | None:
    """What a run's export costs, measured once per machine; None for a recipe without one."""
    step = next((step for step in run.recipe.steps if step.kind == "export"), None)
    if step is None:
        return None
    keys = run.bundle_keys()
    trims = [keys[s.id] for s in run.recipe.steps if s.result == "trimmed" and s.student == ORIGINAL]
    content = canonical([keys[step.id], run.original, trims, platform.node(), versions()])
    key = hashlib.sha256(content.encode()).hexdigest()[:20]
    trimmed = trims[0] if trims else ""
    return run.store.record("shipping", key, Shipping, lambda: _measured(run, keys[step.id], trimmed))[0]


def table(found: Shipping) -> str:
    """Markdown: the teacher, the trimmed teacher, and the file."""
    rows = [("teacher, PyTorch", found.teacher_mb, found.teacher_ms)]
    if found.trimmed_mb is not None and found.trimmed_ms is not None:
        rows.append(("trimmed teacher, int8", found.trimmed_mb, found.trimmed_ms))
    rows.append((found.file, found.file_mb, found.file_ms))
    body = [f"| {name} | {megabytes:.2f} | {milliseconds:.2f} |" for name, megabytes, milliseconds in rows]
    return "\n".join(["| file | MB | ms |", "|---|---:|---:|", *body])


def sentence(found: Shipping) -> str:
    """The same in words."""
    beside = f"{found.over_teacher:.1f} times faster than the teacher in PyTorch"
    if found.trimmed_mb is not None:
        beside += (
            f", {found.over_trimmed:.1f} times faster than the trimmed teacher in int8 ({found.trimmed_mb:.2f} MB)"
        )
    return (
        f"The exported file ({found.file}, {found.file_mb:.2f} MB) reads one row in {found.file_ms:.2f} ms: {beside}."
    )


def _measured(run: Run, exported: str, trimmed: str) -> Shipping:
    from ndogo.evaluation.costs import one_row
    from ndogo.evaluation.encoder import load_encoder
    from ndogo.evaluation.exported import load_exported

    folder, original = run.store.path(exported), run.store.path(run.original)
    encoders = {"teacher": load_encoder(original), "file": load_exported(folder)}
    with tempfile.TemporaryDirectory() as work:
        beside = trimmed_file(run, run.store.path(trimmed), Path(work) / "out") if trimmed else None
        if beside is not None:
            encoders["trimmed"] = load_exported(beside)
        megabytes = _megabytes(beside) if beside else None
    times = one_row(encoders)
    manifest = json.loads((folder / FOLDER / MANIFEST).read_text(encoding="utf-8"))
    own = times["file"]
    return Shipping(
        file=f"student, {manifest['files'][manifest['default']]['precision']}",
        file_mb=_megabytes(folder),
        file_ms=1000 * float(np.median(own)),
        teacher_mb=run.store.details(run.original).numbers.size_mb,
        teacher_ms=1000 * float(np.median(times["teacher"])),
        over_teacher=float(np.median(times["teacher"] / own)),
        trimmed_mb=megabytes,
        trimmed_ms=1000 * float(np.median(times["trimmed"])) if beside else None,
        over_trimmed=float(np.median(times["trimmed"] / own)) if beside else None,
    )


def trimmed_file(run: Run, source: Path, out: Path) -> Path | None:
    """An int8 export of the trimmed teacher; None, and a warning, where its file is refused: a run does not fail for it."""
    from ndogo.compressors.export import Settings, export

    held_out = corpus(run.language, run.profile, Hub(run.sources.corpus)).held_out
    try:
        export(source, out, Settings(("int8",), LINES), held_out)
    except NdogoError as error:
        log.warning("the trimmed teacher has no int8 file to compare with: %s", error)
        return None
    return out


def _megabytes(folder: Path) -> float:
    """Of an export's default file."""
    manifest = json.loads((folder / FOLDER / MANIFEST).read_text(encoding="utf-8"))
    return round(float(manifest["files"][manifest["default"]]["bytes"]) / 1e6, 4)
