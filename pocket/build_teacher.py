"""Build the pocket teacher: `python -m pocket.build_teacher [FOLDER]`.

One SentencePiece Unigram vocabulary for all nine languages, embeddings from a factorised co-occurrence matrix (they pass the plateau at
which masked-language modelling otherwise starts), then the project's own `adapt` step, and half precision for the repository.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.specs import Adapt
from pocket import LANGUAGES, corpus, held_out

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

PIECES = 8192
SHAPE = {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 512}
POSITIONS = 130
WINDOW = 8
"""Pieces to either side that count as company: about one clause."""
SPREAD = 0.05
"""Standard deviation of the factorised embeddings: near the initialisation of the other weights."""
TRAINING = Adapt(
    tokens=9_000_000,
    learning_rate=1e-3,
    batch_size=64,
    max_length=64,
    warmup=0.04,
    weight_decay=0.01,
    mask_probability=0.25,
    dropout=0.0,
)


def lines() -> Iterator[str]:
    """The nine corpora, one line of each in turn."""
    for row in zip(*(corpus(language) for language in LANGUAGES), strict=True):
        yield from row


def unseen() -> Iterator[str]:
    """Held-out lines of the nine languages in turn."""
    for row in zip(*(held_out(language, 60) for language in LANGUAGES), strict=True):
        yield from row


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
    tokenizer = XLMRobertaTokenizer.from_pretrained(out, model_max_length=POSITIONS - 2)
    tokenizer.save_pretrained(out)
    return tokenizer


def company(tokenizer: PreTrainedTokenizerBase, width: int) -> np.ndarray:
    """Vectors [pieces, width] whose products approximate the positive pointwise mutual information of pieces in one window."""
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
    return found / found.std() * SPREAD


def write_start(out: Path) -> None:
    """Write the untrained model: tokenizer, random layers, factorised embeddings."""
    import torch
    from transformers import XLMRobertaConfig

    from compressors.fresh import random_model
    from core.models import save

    tokenizer = write_tokenizer(out)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=POSITIONS, type_vocab_size=1, architectures=["XLMRobertaForMaskedLM"], **SHAPE
    )
    model = random_model(config, 0)
    with torch.no_grad():
        words = model.get_input_embeddings().weight
        words.copy_(torch.from_numpy(company(tokenizer, words.shape[1]).copy()))
    save(model, out)


def write_shipped(trained: Path, out: Path) -> None:
    """Write the trained model in half precision, with its tokenizer."""
    from core.models import copy_tokenizer, load_model, save

    out.mkdir(parents=True, exist_ok=True)
    save(load_model(trained).half(), out)
    copy_tokenizer(trained, out)


def build(out: Path, work: Path) -> dict[str, float]:
    """Build the teacher into `out`; killed and called again with the same `work`, the training goes on."""
    from compressors.distillation import TrainingRun, distil

    start, trained = work / "start", work / "trained"
    if not (start / "model.safetensors").is_file():
        write_start(start)
    trained.mkdir(parents=True, exist_ok=True)
    run = TrainingRun(lines=lines, fingerprint="pocket", work=work / "training", held_out=unseen, report=_tell)
    numbers = distil(start, None, trained, TRAINING, run)
    write_shipped(trained, out)
    return numbers


def _tell(what: str, done: int, total: int | None, numbers: object = None) -> None:
    sys.stderr.write(f"{what}: {done}/{total or '?'} {numbers or ''}\n")


def main() -> None:
    """Build into the given folder, by default where the package looks for its teacher."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "teacher"
    work = Path(tempfile.gettempdir()) / "ndogo-pocket-teacher"
    sys.stdout.write(f"{build(out, work)}\n")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
