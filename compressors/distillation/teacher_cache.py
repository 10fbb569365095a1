"""The teacher speaks once: what it says of every row of the tokenised text is computed once, kept, and read in every epoch.

Only where it depends neither on the student nor on masks. What is kept is named by all that it depends on, and lies where other
trainings find it: the arms of a sweep, a run that was killed. Rows are computed in blocks that depend on the text alone, so that
the values are the same whoever asks first.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from filelock import FileLock, Timeout

from ndogo.compressors.distillation.batches import read_batch
from ndogo.compressors.distillation.corpus import Tokenized, tokenizer_digest
from ndogo.compressors.distillation.kept import KeptFile
from ndogo.compressors.distillation.settings import MICRO_TOKENS
from ndogo.compressors.distillation.taps import Rotary, Seen, look
from ndogo.core.batches import Batch, by_length
from ndogo.core.errors import NdogoError
from ndogo.core.locks import held
from ndogo.core.masking import Masking
from ndogo.core.progress import Report

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ndogo.compressors.distillation.job import TrainingJob
    from ndogo.compressors.distillation.objective import Wanted

log = logging.getLogger("ndogo.teacher")
LAYOUT = 1
"""Raised by hand when the files change: older ones are then made again."""
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def limit() -> int:
    """Bytes that everything kept may take together: $NDOGO_TEACHER_CACHE, such as 20GB, which is the default.

    :raises NdogoError: it cannot be read.
    """
    given = os.environ.get("NDOGO_TEACHER_CACHE") or "20GB"
    number, unit = given[:-2].strip(), given[-2:].upper()
    try:
        return int(float(number) * UNITS[unit])
    except (ValueError, KeyError) as error:
        raise NdogoError(f"`{given}` is no size.", where="NDOGO_TEACHER_CACHE", cure="Write it as 20GB.") from error


@dataclass(frozen=True)
class Positions:
    """What depends on positions alone, by layer: rotations, and which keys lie in a local window."""

    rotary: Mapping[int, Rotary]
    windows: Mapping[int, torch.Tensor]

    def put(self, seen: Seen, real_BL: torch.Tensor) -> None:
        """Add them to what is seen of a batch."""
        length = real_BL.shape[1]
        for layer, (cos, sin) in self.rotary.items():
            seen.rotary[layer] = cos[:, :length], sin[:, :length]
        for layer, band in self.windows.items():
            seen.windows[layer] = band[:, :, :length, :length] & real_BL[:, None, None]


@dataclass(frozen=True)
class TeacherOutputs:
    """What a teacher says of the rows of some texts, read in place of running it."""

    sample: Seen
    """What it said of the longest row: shapes and types."""
    positions: Positions
    texts: Mapping[str, Mapping[str, KeptFile]]
    """The files by the text's name and the output's."""

    def read(self, batch: Batch) -> Seen:
        """What the teacher says of a batch of rows; 0 at padding."""
        assert batch.rows is not None, "these are no rows of a text"
        seen = Seen(self.sample.shape)
        for name, file in self.texts[batch.text].items():
            sample = _said(self.sample, name)
            value = file.read(batch.rows, batch.real.shape[1]).to(batch.ids.device, sample.dtype)
            _put(seen, name, value)
        if self.sample.answer is not None and self.sample.answer.dim() == 2 and seen.answer is not None:
            seen.answer = seen.answer[:, 0]
        self.positions.put(seen, batch.real)
        return seen

    def numbers(self) -> dict[str, float]:
        """For the record: what it takes, and the largest relative error of any output."""
        files = [file for kept in self.texts.values() for file in kept.values()]
        taken = sum(file.bytes for file in files)
        return {
            "teacher_outputs_mb": round(taken / 1e6, 3),
            "teacher_outputs_error": max(file.error() for file in files),
        }


@dataclass(frozen=True)
class Asking:
    """A teacher, what is wanted of it, and how it is asked."""

    teacher: "PreTrainedModel"
    wanted: "Wanted"
    tokenizer: "PreTrainedTokenizerBase"
    """The student's, whose ids the text holds."""
    device: torch.device

    def seen(self, text: Tokenized, rows: np.ndarray) -> Iterator[tuple[Batch, Seen]]:
        """What it says of some rows, in batches that depend on the rows alone."""
        (arranged,) = by_length(rows, text.lengths, len(rows))
        filler = self.tokenizer.pad_token_id
        plain = Masking(0, (), len(self.tokenizer), 0.0)
        for batch in read_batch(text, arranged, plain, filler, (0,)).share(0, 1, MICRO_TOKENS[self.device.type]):
            there = batch.to(self.device)
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                yield there, look(self.teacher, self.wanted, there.ids, there.real)


def keep(
    asking: Asking, job: "TrainingJob", texts: Mapping[Path, tuple[Tokenized, int]], report: Report
) -> TeacherOutputs:
    """Make what is not kept yet of the first rows of each text, and open it all.

    `texts`: the tokenised text's file -> the text, and how many of its rows are read.

    :raises NdogoError: it takes more than the limit or the disk has; a value does not fit the type.
    """
    assert job.settings.teacher_outputs != "live"
    longest = max((text for text, _ in texts.values()), key=lambda text: int(text.lengths.max()))
    row = np.array([int(longest.lengths.argmax())])
    ((_, sample),) = asking.seen(longest, row)
    folder = Path(job.teacher_cache or job.work) / "teacher"
    kept: dict[str, dict[str, KeptFile]] = {}
    for path, (text, count) in texts.items():
        starts = np.concatenate([[0], np.cumsum(text.lengths[:count], dtype=np.int64)])
        key = _key(job, asking, path, count)
        files = {
            name: KeptFile(
                folder / f"{key}-{name}", starts, _said(sample, name).shape[-1], job.settings.teacher_outputs
            )
            for name in _names(asking.wanted)
        }
        kept[text.name] = files
    _make_room(folder, [file for files in kept.values() for file in files.values()])
    for text, _ in texts.values():
        _fill(asking, text, kept[text.name], report)
    return TeacherOutputs(sample, Positions(sample.rotary, sample.windows), kept)


def _fill(asking: Asking, text: Tokenized, files: Mapping[str, KeptFile], report: Report) -> None:
    """Make the blocks that are absent; one process makes, the others wait and find."""
    any_file = next(iter(files.values()))
    try:
        with held(_lock(any_file.folder), "what the teacher says of this text", log):
            absent = {name: set(file.absent()) for name, file in files.items()}
            blocks = sorted(set().union(*absent.values()))
            size = sum(file.bytes for name, file in files.items() if absent[name]) / 1e9
            doing = f"asking the teacher once ({size:.3g} GB)"
            if blocks:
                log.info("%s: %s rows, in %s", doing, f"{len(any_file.starts) - 1:,}", any_file.folder.parent)
            for done, block in enumerate(blocks, 1):
                names = [name for name in files if block in absent[name]]
                for name, value_NH in _values(asking, text, any_file.rows_of(block), names).items():
                    files[name].write(block, value_NH)
                report(doing, done, len(blocks))
            for file in files.values():
                os.utime(file.folder)  # `ndogo clean` and the limit go by the last use
    except OSError as error:
        raise NdogoError(
            f"What the teacher says cannot be kept: {error}.",
            where=str(any_file.folder.parent),
            cure="Free some disk space, or use teacher_outputs: live; what is kept so far will be found.",
        ) from error


def _values(asking: Asking, text: Tokenized, rows: np.ndarray, names: list[str]) -> dict[str, torch.Tensor]:
    """What the teacher says of a block of rows, token after token in the text's order, (N, H) fp32."""
    starts = np.concatenate([[0], np.cumsum(text.lengths[rows], dtype=np.int64)])
    found: dict[str, torch.Tensor] = {}
    for batch, seen in asking.seen(text, rows):
        assert batch.rows is not None
        places = np.concatenate([np.arange(starts[r - rows[0]], starts[r - rows[0] + 1]) for r in batch.rows])
        for name in names:
            value = _said(seen, name)[batch.real].float().cpu()
            whole = found.setdefault(name, torch.empty(int(starts[-1]), value.shape[-1]))
            whole[torch.from_numpy(places)] = value
    return found


def _make_room(folder: Path, files: list[KeptFile]) -> None:
    """Remove what was not used for longest until the files fit the limit together with the rest.

    :raises NdogoError: they do not fit at all, or the disk has no room.
    """
    needed, most = sum(file.bytes for file in files), limit()
    if needed > most:
        raise NdogoError(
            f"What the teacher says of this text takes {needed / 1e9:.3g} GB, and the limit is {most / 1e9:.3g} GB.",
            where="teacher_outputs",
            cure="Raise NDOGO_TEACHER_CACHE, use teacher_outputs: int8, or live.",
        )
    ours = {file.folder for file in files}
    others = [f for f in folder.iterdir() if f.is_dir() and f not in ours] if folder.is_dir() else []
    sizes = {f: sum(part.stat().st_size for part in f.iterdir()) for f in others}
    for other in sorted(others, key=lambda f: f.stat().st_mtime):
        if sum(sizes.values()) + needed <= most:
            break
        try:
            with FileLock(_lock(other), timeout=0):
                shutil.rmtree(other)
        except Timeout:
            continue
        del sizes[other]
    folder.mkdir(parents=True, exist_ok=True)
    missing = needed - sum(f.stat().st_blocks * 512 for o in ours if o.is_dir() for f in o.iterdir())
    if missing > (free := shutil.disk_usage(folder).free):
        raise NdogoError(
            f"What the teacher says of this text takes {missing / 1e9:.3g} GB, and the disk has {free / 1e9:.3g} GB.",
            where=str(folder),
            cure="Free some disk space, use teacher_outputs: int8, or live.",
        )


def _lock(folder: Path) -> Path:
    """Of everything with the same key."""
    return folder.with_name(folder.name.split("-")[0] + ".lock")


def _key(job: "TrainingJob", asking: Asking, path: Path, rows: int) -> str:
    """Names what is kept of one text by all that the values depend on; threads and device decide the last digits."""
    with path.open("rb") as raw:
        text = hashlib.file_digest(raw, "sha256").hexdigest()
    facts = {
        "layout": LAYOUT,
        "teacher": job.teacher_digest,
        "tokenizer": tokenizer_digest(asking.tokenizer),
        "text": text,
        "rows": rows,
        "type": job.settings.teacher_outputs,
        "precision": job.precision,
        "device": asking.device.type,
        "threads": torch.get_num_threads() if asking.device.type == "cpu" else 0,
        "versions": [version("torch"), version("transformers")],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]


def _names(wanted: "Wanted") -> list[str]:
    states = [f"state-{number}" for number in sorted(wanted.states)]
    vectors = [f"{part}-{number}" for number in sorted(wanted.qkv) for part in ("q", "k", "v")]
    return states + vectors + ["last"] * wanted.last + ["answer"] * wanted.answer


def _stores(seen: Seen) -> dict[str, dict[int, torch.Tensor]]:
    return {"state": seen.states, "q": seen.queries, "k": seen.keys, "v": seen.values}


def _said(seen: Seen, name: str) -> torch.Tensor:
    part, _, number = name.partition("-")
    if part == "last":
        assert seen.last_BLH is not None
        return seen.last_BLH
    if part == "answer":
        assert seen.answer is not None and seen.last_BLH is not None
        length = seen.last_BLH.shape[1]  # what is said of a text is kept at each of its tokens
        return seen.answer if seen.answer.dim() == 3 else seen.answer[:, None].expand(-1, length, -1)
    return _stores(seen)[part][int(number)]


def _put(seen: Seen, name: str, value: torch.Tensor) -> None:
    part, _, number = name.partition("-")
    if part == "last":
        seen.last_BLH = value
    elif part == "answer":
        seen.answer = value
    else:
        _stores(seen)[part][int(number)] = value
