"""The folder that ships: `onnx/` beside the model's own files, whole in itself."""

import gzip
import hashlib
import json
import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from ndogo.compressors.export.graph import OPSET, graph_of
from ndogo.compressors.export.heads import ANSWERS, Exportable, exportable
from ndogo.compressors.export.parity import limit_of, parity, reference, refuse
from ndogo.compressors.export.precision import FILES, Precision, in_precision
from ndogo.compressors.export.sentence import max_length
from ndogo.compressors.export.tokenizer import write_tokenizer
from ndogo.core.exported import FOLDER, MANIFEST, TOKENIZER, WEB
from ndogo.core.models import load_tokenizer
from ndogo.core.progress import Report, silent
from ndogo.core.text import Lines

DRAWN_WORDS = 12
"""Tokens of a line that is drawn from the vocabulary, where there is no text."""


@dataclass(frozen=True)
class Settings:
    """What is exported, and on how much text it is compared."""

    precisions: tuple[Precision, ...] = ("fp32", "int8")
    lines: int = 64
    """Lines on which every file is compared with PyTorch."""
    agreement: float = 0.8
    """A file with a smaller share of PyTorch's predictions is marked, and is not the default."""


def export(
    source: Path, out: Path, settings: Settings, text: Lines | None = None, report: Report = silent
) -> dict[str, Any]:
    """Copy a model directory to `out` and add `onnx/`: a file per precision, the tokenizer, and export.json. The numbers.

    Every file is compared with PyTorch on lines of `text` (without it, on texts drawn from the vocabulary). The default file
    is the smallest one. `out` must not exist, or be empty.

    :raises NdogoError: the model or its head cannot be exported, or a file does not answer as the model does.
    """
    total = len(settings.precisions) + 1
    report("exporting", 0, total)
    ready, tokenizer = exportable(source), load_tokenizer(source)
    lines = lines_to_compare(text, settings.lines) or _drawn(tokenizer, settings.lines)
    expected = reference(ready, tokenizer, lines)
    shutil.copytree(source, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(FOLDER, WEB, "step.json"))
    folder = out / FOLDER
    folder.mkdir()
    write_tokenizer(tokenizer, folder / TOKENIZER)
    graph = graph_of(ready)
    files: dict[str, Any] = {}
    for number, precision in enumerate(settings.precisions):
        report(f"exporting {precision}", number + 1, total)
        raw = in_precision(graph, precision).SerializeToString()
        found = parity(expected, raw)
        refuse(precision, found, raw, str(out))
        (folder / FILES[precision]).write_bytes(raw)
        files[FILES[precision]] = {
            "precision": precision,
            "bytes": len(raw),
            "gzip_bytes": len(gzip.compress(raw, 6)),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "parity": found.record(),
            "loses": found.agreement < settings.agreement,
        }
    manifest = facts(ready, tokenizer, source) | {"files": files, "default": smallest(files)}
    write_manifest(folder, manifest)
    report("exporting", total, total)
    return numbers(folder, manifest)


def facts(ready: Exportable, tokenizer: PreTrainedTokenizerBase, source: Path) -> dict[str, Any]:
    """What one must know to use the files, as it stands in export.json."""
    config = ready.model.config
    labels = [str(label) for _, label in sorted((config.id2label or {}).items())]
    limit = limit_of(ready, tokenizer)
    return {
        "head": ready.head,
        "answer": ANSWERS[ready.head],
        "opset": OPSET,
        "max_length": min(limit, (ready.head == "vectors" and max_length(source)) or limit),
        "labels": labels if ready.head in ("classes", "tags") else [],
        "mask": {"token": tokenizer.mask_token, "id": tokenizer.mask_token_id},
        "unknown_id": tokenizer.unk_token_id,
        "padding_id": tokenizer.pad_token_id,
    }


def smallest(files: dict[str, Any]) -> str:
    """The smallest file that is not marked as losing too much; the largest where all are."""
    by_size = sorted(files, key=lambda name: files[name]["bytes"])
    return next((name for name in by_size if not files[name].get("loses", False)), by_size[-1])


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write export.json."""
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def keep_only(bundle: Path, precision: Precision) -> None:
    """Remove the files of other precisions from a copy of an exported folder."""
    folder = bundle / FOLDER
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for name in [n for n, file in manifest["files"].items() if file["precision"] != precision]:
        (folder / name).unlink()
        del manifest["files"][name]
    write_manifest(folder, manifest | {"default": smallest(manifest["files"])})


def numbers(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The numbers of an export: megabytes of each file and of the tokenizer, and how near each is to PyTorch."""
    found: dict[str, Any] = {
        "file_mb": round(manifest["files"][manifest["default"]]["bytes"] / 1e6, 4),
        "tokenizer_mb": round((folder / TOKENIZER).stat().st_size / 1e6, 4),
    }
    for entry in manifest["files"].values():
        name = entry["precision"]
        found[f"{name}_mb"] = round(entry["bytes"] / 1e6, 4)
        found[f"{name}_agreement"] = round(entry["parity"]["agreement"], 5)
        found[f"{name}_cosine"] = round(entry["parity"]["cosine"], 6)
    return found


def lines_to_compare(text: Lines | None, count: int) -> list[str]:
    """The first lines of a text that are not blank; none without a text."""
    return [line for line in islice(text() if text else (), 50 * count) if line.strip()][:count]


def _drawn(tokenizer: PreTrainedTokenizerBase, count: int) -> list[str]:
    """Texts of tokens that are drawn from the vocabulary."""
    drawn = np.random.default_rng(0).integers(len(tokenizer), size=(count, DRAWN_WORDS))
    return [str(tokenizer.decode(row[: 3 + n % (DRAWN_WORDS - 2)].tolist())) for n, row in enumerate(drawn)]
