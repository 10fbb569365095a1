"""Trimming a model directory from end to end: count, select, write, certify."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ndogo.compressors.vocabulary.certificate import Certificate, certify
from ndogo.compressors.vocabulary.counting import count_tokens
from ndogo.compressors.vocabulary.files import write_json, write_tokenizer
from ndogo.compressors.vocabulary.model import trim_model
from ndogo.compressors.vocabulary.selection import Wanted, select
from ndogo.compressors.vocabulary.source import Vocabulary, read_vocabulary
from ndogo.compressors.vocabulary.table import certificate_table
from ndogo.core.directories import check_model_directory
from ndogo.core.models import load_config, load_model, parameters, save
from ndogo.core.progress import Report
from ndogo.core.text import WeightedLines


def trim(source: Path, out: Path, wanted: Wanted, corpora: Sequence[WeightedLines], report: Report) -> dict[str, Any]:
    """Write the trimmed model directory into `out` (an existing, empty folder), with certificate.json, certificate.md and
    old_to_new.json; return the certificate's numbers, flat.

    :raises NdogoError: a directory, text or size that cannot be used, or a certificate that does not hold.
    """
    check_model_directory(source)
    config = load_config(source)
    vocabulary = read_vocabulary(source, config)
    counts = count_tokens(vocabulary.backend, len(vocabulary.tokens), corpora, report)
    selection = select(vocabulary, counts.weighted, wanted)
    report("write the trimmed model", 0, 2)
    before, after = write_trimmed(source, out, vocabulary, selection.kept)
    report("certify", 1, 2)
    certificate = certify(source, out, vocabulary, selection, counts)
    _write_map(out, vocabulary, selection.kept)
    write_json(out / "certificate.json", certificate.as_dict(), indent=2)
    (out / "certificate.md").write_text(certificate_table(certificate), encoding="utf-8")
    report("certify", 2, 2)
    return flat_numbers(certificate) | {"params_before": before, "params": after}


def write_trimmed(source: Path, out: Path, vocabulary: Vocabulary, kept: Sequence[int]) -> tuple[int, int]:
    """Write the model directory `source` with the ids `kept` (ascending) alone into `out`; parameters before and after."""
    write_tokenizer(source, out, vocabulary, kept)
    stored = load_config(source).dtype
    model = load_model(source, dtype=stored if isinstance(stored, torch.dtype) else torch.float32)
    trimmed = trim_model(model, kept)
    save(trimmed, out)
    return parameters(model), parameters(trimmed)


def _write_map(out: Path, vocabulary: Vocabulary, kept: Sequence[int]) -> None:
    both = {"old_to_new": {str(old): new for new, old in enumerate(kept)}, "new_to_old": list(kept)}
    (out / "old_to_new.json").write_text(json.dumps(both), encoding="utf-8")


def flat_numbers(certificate: Certificate) -> dict[str, Any]:
    """The certificate's numbers with dotted names, for tracking; lists and tables left out."""
    found: dict[str, Any] = {}
    for name, value in certificate.as_dict().items():
        if name == "scripts":
            continue
        parts = {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        found |= {key: v for key, v in parts.items() if isinstance(v, int | float)}
    return found
