"""The certificate: what the trimmed model kept, measured on the written directory and compared with the source."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from ndogo.compressors.vocabulary.closure import unsafe_tokens
from ndogo.compressors.vocabulary.counting import Encoded, TokenCounts, encode
from ndogo.compressors.vocabulary.files import TWINS
from ndogo.compressors.vocabulary.model import wide_parameters, words_of
from ndogo.compressors.vocabulary.selection import Selection
from ndogo.compressors.vocabulary.source import Vocabulary
from ndogo.core.architectures import architecture_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_model, load_tokenizer

LOGIT_LINES = 64
LOGIT_TOKENS = 8
"""Lines whose logits are compared, and tokens of each (specials included): enough to touch every matrix."""
LOGIT_NUMBERS = 2**25
"""Largest number of logits made at once: 128 MiB."""
LOGIT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Segmentation:
    """Both tokenizers on the held-out lines; rates over running tokens, fertility in tokens per white-space word."""

    lines: int
    coverage: float
    fertility_before: float
    fertility_after: float
    unknown_before: float
    unknown_after: float
    covered: int
    """Lines whose tokens were all kept."""
    covered_identical: int
    identical: int


@dataclass(frozen=True)
class Certificate:
    """Everything that certificate.json says."""

    pieces_before: int
    pieces_after: int
    rows_before: int
    rows_after: int
    specials: int
    forced: int
    asked: int | None
    used_by_corpus: int
    fewer_than_asked: bool
    counted_lines: int
    counted_pieces: int
    counted_coverage: float
    scripts: dict[str, float]
    held_out: Segmentation
    other_files: tuple[str, ...]
    """Tokenizer files beside tokenizer.json, loaded alone and compared on the held-out lines."""
    other_files_equal: float | None
    other_files_equal_before: float | None
    """The same of the source's files; measured only where the trimmed ones differ."""
    rows_equal: bool
    """Every kept row of embedding, decoder and bias, and every other tensor, bit for bit."""
    compared: str
    """The logits restricted to the kept columns, or the outputs of a model without them."""
    compared_lines: int
    relative_difference: float | None
    """Largest difference over the largest old value, line by line; None where no line is covered."""

    def faults(self) -> list[str]:
        """The promises that do not hold; empty for a valid certificate."""
        held_out, before = self.held_out, self.other_files_equal_before
        broken = {
            f"{held_out.covered - held_out.covered_identical} covered lines are split otherwise": (
                held_out.covered_identical < held_out.covered
            ),
            f"{', '.join(self.other_files)} and tokenizer.json disagree, and did not before": (
                self.other_files_equal is not None and self.other_files_equal < (1.0 if before is None else before)
            ),
            "a kept row or another tensor differs": not self.rows_equal,
            f"{self.compared} differ by {self.relative_difference}": (self.relative_difference or 0.0)
            > LOGIT_TOLERANCE,
        }
        return [fault for fault, holds in broken.items() if holds]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"valid": not self.faults()} | asdict(self)


def certify(
    source: Path,
    out: Path,
    vocabulary: Vocabulary,
    selection: Selection,
    counts: TokenCounts,
) -> Certificate:
    """Load what was written into `out`, and compare it with the model directory that went in.

    :raises NdogoError: a promise is broken: that is a bug, and nothing may be published.
    """
    kept = selection.kept
    trimmed = _plain_backend(out)
    held_out, covered = compare_segmentation(vocabulary, kept, counts.certificate_sample, trimmed)
    others = tuple(name for name in TWINS if (out / name).is_file())
    texts = [text for text, _ in counts.certificate_sample]
    equal = _twins_equal(out, trimmed, texts) if others else None
    equal_before = _twins_equal(source, vocabulary.backend, texts) if equal is not None and equal < 1.0 else None
    old, new = load_model(source), load_model(out)
    lines = _spread(covered, LOGIT_LINES)
    if len(lines) < LOGIT_LINES:
        lines += compare_segmentation(vocabulary, kept, counts.sample, trimmed)[1][: LOGIT_LINES - len(lines)]
    ordinary = len(kept) - len(vocabulary.specials)
    certificate = Certificate(
        pieces_before=len(vocabulary.tokens),
        pieces_after=len(kept),
        rows_before=words_of(old).num_embeddings,
        rows_after=words_of(new).num_embeddings,
        specials=len(vocabulary.specials),
        forced=selection.forced,
        asked=selection.asked,
        used_by_corpus=selection.used,
        fewer_than_asked=selection.asked is not None and ordinary < selection.asked,
        counted_lines=counts.lines - len(counts.certificate_sample),
        counted_pieces=counts.tokens,
        counted_coverage=selection.coverage,
        scripts=selection.scripts,
        held_out=held_out,
        other_files=others,
        other_files_equal=equal,
        other_files_equal_before=equal_before,
        rows_equal=equal_rows(old, new, kept),
        compared="kept columns of the logits" if _has_logits(old) else "outputs",
        compared_lines=len(lines),
        relative_difference=logits_difference(old, new, vocabulary, kept, lines),
    )
    if faults := certificate.faults():
        raise NdogoError(
            f"The trimmed model breaks a promise: {', '.join(faults)}.",
            where=str(out),
            cure="This is a fault of Ndogo's; please report it with this message."
            if equal_before in (None, 1.0)
            else f"The tokenizer's own files disagree with one another: remove {', '.join(others)}, or make them anew.",
        )
    return certificate


def _plain_backend(path: Path) -> Tokenizer:
    backend: Tokenizer = load_tokenizer(path).backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return backend


def compare_segmentation(
    vocabulary: Vocabulary, kept: Sequence[int], lines: Sequence[Encoded], trimmed: Tokenizer
) -> tuple[Segmentation, list[str]]:
    """Both segmentations of lines whose old ids are known, and the covered lines."""
    new_id = {old: new for new, old in enumerate(kept)}
    unsafe = bool(unsafe_tokens(vocabulary, kept))
    unknown = vocabulary.unknown
    covered_lines, same_covered, same = [], 0, 0
    total = total_after = kept_tokens = unknowns = unknowns_after = words = 0
    for (text, old), new in zip(lines, encode(trimmed, [text for text, _ in lines]), strict=True):
        expected = [new_id.get(i, -1) for i in old]
        covered = -1 not in expected and not (unsafe and unknown in old)
        same += expected == new
        if covered:
            covered_lines.append(text)
            same_covered += expected == new
        total += len(old)
        total_after += len(new)
        kept_tokens += len(old) - expected.count(-1)
        words += len(text.split())
        if unknown is not None:
            unknowns += old.count(unknown)
            unknowns_after += new.count(new_id[unknown])
    return Segmentation(
        lines=len(lines),
        coverage=kept_tokens / max(total, 1),
        fertility_before=total / max(words, 1),
        fertility_after=total_after / max(words, 1),
        unknown_before=unknowns / max(total, 1),
        unknown_after=unknowns_after / max(total_after, 1),
        covered=len(covered_lines),
        covered_identical=same_covered,
        identical=same,
    ), covered_lines


def _twins_equal(path: Path, backend: Tokenizer, texts: Sequence[str]) -> float:
    """Share of the lines that the directory's other tokenizer files, loaded without tokenizer.json, give the same ids."""
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder)
        copy_tokenizer(path, alone)
        (alone / "tokenizer.json").unlink(missing_ok=True)
        shutil.copyfile(path / "config.json", alone / "config.json")
        found = encode(_plain_backend(alone), texts)
    return sum(a == b for a, b in zip(found, encode(backend, texts), strict=True)) / max(len(texts), 1)


def equal_rows(source: PreTrainedModel, trimmed: PreTrainedModel, kept: Sequence[int]) -> bool:
    """Whether every tensor of the trimmed model is the source's, those over the vocabulary restricted to `kept`."""
    index = torch.tensor(kept)
    old, new = source.state_dict(), trimmed.state_dict()
    wide = set(wide_parameters(source))
    return old.keys() == new.keys() and all(
        torch.equal(old[name][index] if name in wide else old[name], new[name]) for name in new
    )


def _spread(lines: Sequence[str], count: int) -> list[str]:
    if len(lines) <= count:
        return list(lines)
    return [lines[n * len(lines) // count] for n in range(count)]


@torch.inference_mode()
def logits_difference(
    source: PreTrainedModel, trimmed: PreTrainedModel, vocabulary: Vocabulary, kept: Sequence[int], lines: Sequence[str]
) -> float | None:
    """Largest difference between old and new outputs on covered lines, relative to each line's largest old value."""
    if not lines:
        return None
    columns = torch.tensor(kept)
    new_id = torch.zeros(len(vocabulary.tokens), dtype=torch.long)
    new_id[columns] = torch.arange(len(kept))
    swapped = _kept_decoder(source, columns)
    whole = _has_logits(source) and not swapped  # a head that reads the word embedding itself
    worst = 0.0
    batch = max(1, LOGIT_NUMBERS // (LOGIT_TOKENS * (words_of(source).num_embeddings if whole else len(kept))))
    for start in range(0, len(lines), batch):
        ids, mask = _padded(vocabulary, lines[start : start + batch])
        old = functional_call(source, swapped, (ids,), {"attention_mask": mask}, tie_weights=False)[0]
        old = old[..., columns] if whole else old
        new = trimmed(new_id[ids], attention_mask=mask)[0]
        for before, after, real in zip(old, new, mask.bool(), strict=True):
            if before.shape[0] == len(real):  # one output per token: those of padding mean nothing
                before, after = before[real], after[real]
            worst = max(worst, ((before - after).abs().max() / before.abs().max().clamp_min(1e-30)).item())
    return worst


def _padded(vocabulary: Vocabulary, lines: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(lines, longest) ids with specials, cut and padded, and their mask."""
    cut = [torch.tensor(e.ids[:LOGIT_TOKENS]) for e in vocabulary.backend.encode_batch_fast(list(lines))]
    pad = vocabulary.tokenizer.pad_token_id
    ids = pad_sequence(cut, batch_first=True, padding_value=vocabulary.specials[0] if pad is None else pad)
    return ids, pad_sequence([torch.ones_like(c) for c in cut], batch_first=True)


def _kept_decoder(model: PreTrainedModel, columns: Tensor) -> dict[str, Tensor]:
    """The decoder's weight and bias restricted to some columns, so that the others' logits are never made."""
    decoder = architecture_of(model.config).decoder
    return {name: p[columns] for name, p in wide_parameters(model).items() if name.rpartition(".")[0] == decoder}


def _has_logits(model: PreTrainedModel) -> bool:
    """Whether the model answers with a number per token of the vocabulary."""
    return len(wide_parameters(model)) > 1
