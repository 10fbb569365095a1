"""Loading a teacher: frozen, without the layers that nothing reads, and in the student's vocabulary."""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ndogo.compressors.distillation.objective import Wanted
from ndogo.compressors.distillation.taps import drop_unread_layers
from ndogo.core.architectures import architecture_of, has_lm_head
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer


def load_teacher(path: Path, tokenizer: PreTrainedTokenizerBase, wanted: Wanted, dtype: torch.dtype) -> PreTrainedModel:
    """The model at `path` in evaluation mode, reading and answering in the student's token ids.

    :raises NdogoError: it lacks tokens that the student has.
    """
    teacher = load_model(path, dtype=dtype).requires_grad_(False)
    restrict(teacher, load_tokenizer(path), tokenizer)
    drop_unread_layers(teacher, wanted)
    return teacher


def restrict(
    teacher: PreTrainedModel, theirs: PreTrainedTokenizerBase, ours: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """Cut the teacher's vocabulary to the student's, in the student's order (changed in place).

    So a student with a trimmed vocabulary learns from the untrimmed teacher: its tokens are the teacher's, only fewer.

    :raises NdogoError: the student has tokens that the teacher lacks, or another padding id.
    """
    vocabulary, wanted = theirs.get_vocab(), ours.get_vocab()
    if vocabulary == wanted:
        return teacher
    unknown = [token for token in wanted if token not in vocabulary]
    if unknown or theirs.pad_token_id != ours.pad_token_id:
        what = f"{len(unknown)} tokens (such as {unknown[0]!r})" if unknown else "another padding id"
        raise NdogoError(
            f"Teacher and student do not share a vocabulary: the student has {what} that the teacher lacks.",
            where=f"student {ours.name_or_path}, teacher {theirs.name_or_path}",
            cure="Make the student from this teacher, or give both the same tokenizer.",
        )
    rows = torch.tensor([vocabulary[token] for token in sorted(wanted, key=wanted.__getitem__)])
    entry = architecture_of(teacher.config)
    words = teacher.base_model.get_submodule(entry.words)
    tied = has_lm_head(teacher) and teacher.get_submodule(entry.decoder).weight is words.weight
    words.weight = _cut(words.weight, rows)
    if has_lm_head(teacher):
        decoder = teacher.get_submodule(entry.decoder)
        decoder.weight = words.weight if tied else _cut(decoder.weight, rows)
        if decoder.bias is not None:
            decoder.bias = _cut(decoder.bias, rows)
    teacher.config.vocab_size = len(rows)
    return teacher


def _cut(weight: torch.Tensor | nn.Module, rows: torch.Tensor) -> nn.Parameter:
    assert isinstance(weight, torch.Tensor)
    return nn.Parameter(weight.detach()[rows], requires_grad=False)
