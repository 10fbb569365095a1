"""Build the pocket teacher: `python -m ndogo.pocket.build_teacher [FOLDER]`.

One SentencePiece Unigram vocabulary for all nine languages; embeddings from a factorised co-occurrence matrix, which pass
the plateau at which masked-language modelling otherwise starts; the project's own `adapt` step; half precision.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndogo.pocket import LANGUAGES, corpus, held_out
from ndogo.pocket.generator import CORPUS, Lesson
from ndogo.pocket.generator import lines as generated
from ndogo.pocket.world import world
from ndogo.steps.kinds.adapt import Adapt

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

PIECES = 8192
SHAPE: dict[str, Any] = {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 512}
POSITIONS = 130
WINDOW = 8
"""Pieces to either side that count as company: about one clause."""
SPREAD = 0.05
"""Standard deviation of the factorised embeddings: near the initialisation of the other weights."""
COMMON: dict[str, Any] = {"batch_size": 64, "max_length": 64, "warmup": 0.04, "weight_decay": 0.01, "dropout": 0.0}
LESSONS = 40_000
"""Lines of each language in a training that is not on the corpora."""


def lines() -> Iterator[str]:
    """The nine corpora, one line of each in turn."""
    for row in zip(*(corpus(language) for language in LANGUAGES), strict=True):
        yield from row


def lessons(number: int, lesson: Lesson) -> Callable[[], Iterator[str]]:
    """Lines of a lesson, of the nine languages in turn."""

    def told(language: str) -> Iterator[str]:
        return islice(generated(world(language), f"lessons-{number}", CORPUS, lesson.tell), LESSONS)

    return lambda: (line for row in zip(*map(told, LANGUAGES), strict=True) for line in row)


def unseen() -> Iterator[str]:
    """Held-out lines of the nine languages in turn."""
    for row in zip(*(held_out(language, 60) for language in LANGUAGES), strict=True):
        yield from row


TRAININGS = (
    (lines, Adapt(tokens=5_500_000, learning_rate=1e-3, mask_probability=0.25, **COMMON)),
    (lines, Adapt(tokens=4_000_000, learning_rate=7e-4, mask_probability=0.3, seed_offset=1, **COMMON)),
    (
        lessons(3, Lesson(plain=0.2, names=0.0, contrast=0.4, negated=0.4)),
        Adapt(tokens=11_000_000, learning_rate=1e-3, seed_offset=2, **COMMON),
    ),
    (
        lessons(4, Lesson(plain=0.1, names=0.0, contrast=0.0, negated=0.5)),
        Adapt(tokens=8_000_000, learning_rate=1e-3, seed_offset=3, **COMMON),
    ),
    (
        lessons(5, Lesson(plain=0.4, names=0.3, contrast=0.4, negated=0.4)),
        Adapt(tokens=9_000_000, learning_rate=1e-3, seed_offset=4, **COMMON),
    ),
)
"""Two on the corpora, for words and names; they alone never learn negation. Then concessions, negations, and all of it
together, with so few masks that a negation and what it negates are mostly both in sight."""


def write_tokenizer(out: Path) -> PreTrainedTokenizerBase:
    """Train the vocabulary and write both tokenizer files in XLM-R's layout into `out`."""
    import sentencepiece
    from transformers import XLMRobertaTokenizer

    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines(),
        model_writer=proto,
        vocab_size=PIECES,
        model_type="unigram",
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "sentencepiece.bpe.model").write_bytes(proto.getvalue())
    tokenizer: PreTrainedTokenizerBase = XLMRobertaTokenizer.from_pretrained(out, model_max_length=POSITIONS - 2)
    tokenizer.save_pretrained(out)
    return tokenizer


def company(tokenizer: PreTrainedTokenizerBase, width: int) -> np.ndarray:
    """Vectors [pieces, width] whose products approximate the positive pointwise mutual information of neighbours."""
    import numpy as np
    from scipy import sparse
    from scipy.sparse.linalg import svds

    size = len(tokenizer)
    encoded = tokenizer(list(lines()), return_attention_mask=False)["input_ids"]
    ids = np.concatenate([np.array(row) for row in encoded])
    row_of = np.repeat(np.arange(len(encoded)), [len(row) for row in encoded])
    counts = sparse.csr_matrix((size, size))
    for step in range(1, WINDOW + 1):
        near = row_of[:-step] == row_of[step:]
        pairs = (ids[:-step][near], ids[step:][near])
        counts = counts + sparse.coo_matrix((np.ones(len(pairs[0])), pairs), shape=(size, size)).tocsr()
    counts = (counts + counts.T).tocoo()
    total = np.maximum(np.asarray(counts.sum(1)).ravel(), 1.0)
    smoothed = total**0.75 / (total**0.75).sum()  # Levy, Goldberg, Dagan 2015: context distribution smoothing
    information = np.log(counts.data / (total[counts.row] * smoothed[counts.col]))
    kept = information > 0
    matrix = sparse.csr_matrix((information[kept], (counts.row[kept], counts.col[kept])), shape=(size, size))
    vectors, values, _ = svds(matrix, k=width, v0=np.ones(size))
    found = vectors * np.sqrt(values)
    return np.ascontiguousarray(found / found.std() * SPREAD)


def write_start(out: Path) -> None:
    """Write the untrained model: tokenizer, random layers, factorised embeddings."""
    import torch
    from transformers import XLMRobertaConfig

    from ndogo.compressors.fresh import random_model
    from ndogo.core.models import save

    tokenizer = write_tokenizer(out)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        architectures=["XLMRobertaForMaskedLM"],
        **SHAPE,
    )
    model = random_model(config, 0)
    with torch.no_grad():
        vectors = torch.from_numpy(company(tokenizer, SHAPE["hidden_size"]))
        model.base_model.get_parameter("embeddings.word_embeddings.weight").copy_(vectors)
    save(model, out)


def write_shipped(trained: Path, out: Path) -> None:
    """Write the trained model in half precision, with its tokenizer."""
    from ndogo.core.models import copy_tokenizer, load_model, save

    out.mkdir(parents=True, exist_ok=True)
    save(load_model(trained).half(), out)
    copy_tokenizer(trained, out)


def build(out: Path, work: Path, processes: int = 2) -> dict[str, float]:
    """Build the teacher into `out` in so many processes; killed and called again with the same `work`, the training goes on."""
    from ndogo.compressors.distillation.run import TrainingRun
    from ndogo.compressors.distillation.train import train

    model = work / "start"
    if not (model / "model.safetensors").is_file():
        write_start(model)
    numbers: dict[str, float] = {}
    for number, (text, training) in enumerate(TRAININGS, 1):
        trained, own = work / f"trained-{number}", work / f"training-{number}"
        if not (trained / "model.safetensors").is_file():
            trained.mkdir(parents=True, exist_ok=True)
            run = TrainingRun(
                lines=text, fingerprint=f"pocket-{number}", work=own, held_out=unseen, devices=processes, report=_tell
            )
            numbers |= train(model, None, trained, training.settings(), training.objectives, run)
        model = trained
    write_shipped(model, out)
    return numbers


def _tell(doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
    loss = f", loss {numbers['loss']:.3f}" if numbers and "loss" in numbers else ""
    sys.stderr.write(f"{doing}: {done} of {total or '?'}{loss}\n")


def main() -> None:
    """Build into the given folder, by default where the package looks for its teacher."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "teacher"
    work = Path(tempfile.gettempdir()) / "ndogo-pocket-teacher"
    sys.stdout.write(f"{build(out, work)}\n")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
