"""Models with a Gemma-type tokenizer, and short ways to trim."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, GemmaTokenizer, ModernBertConfig

from ndogo.compressors.vocabulary import Wanted, trim
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from tests import pico

EDGES = [
    "",
    " ",
    "\t\n  ",
    "\x00",
    "a\x00b",
    "e\u0301 o\u0323\u0300",
    "\u0301",
    " \u0301x",
    "👩‍👩‍👧‍👦 😀",
    "^" * 90,
    "aaaa" * 40,
    "Watoto дети 孩子 أطفال",
    "\u200d\ufeff\u00ad",
    "<mask> [MASK] <s></s>",
    "\u3000x\u00a0y",
    "ﬁ ½ Ⅷ ℌ",
    "\ud7ff\U0010ffff",
]


def gemma(out: Path) -> Path:
    """ModernBERT with SentencePiece BPE, byte fallback and both tokenizer files: the make of mmBERT."""
    import sentencepiece

    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(pico.TEXT),
        model_writer=proto,
        vocab_size=560,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.98,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        bos_piece="<bos>",
        eos_piece="<eos>",
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=["<mask>", "<unused0>"],
        minloglevel=2,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer.model").write_bytes(proto.getvalue())
    tokenizer = GemmaTokenizer.from_pretrained(out)
    tokenizer.save_pretrained(out)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = ModernBertConfig(
        vocab_size=len(tokenizer) + 6,
        **ids,
        cls_token_id=ids["bos_token_id"],
        sep_token_id=ids["eos_token_id"],
        **pico.SIZES,
        num_hidden_layers=2,
        max_position_embeddings=66,
    )
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config).save_pretrained(out)
    return out


@pytest.fixture(scope="session")
def model_of(pico_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Every pico family, and `gemma`."""
    built: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family != "gemma":
            return pico_model(family)
        if family not in built:
            built[family] = gemma(tmp_path_factory.mktemp(family))
        return built[family]

    return get


Trimmer = Callable[..., tuple[Path, dict]]


@pytest.fixture
def trimmed(tmp_path: Path) -> Trimmer:
    """`trimmed(source, size=80)` -> the new directory and the numbers; `text` in place of the pico corpus."""

    def run(source: Path, text: list[str] | None = None, name: str = "out", **spec) -> tuple[Path, dict]:
        out = tmp_path / name
        out.mkdir()
        lines = pico.TEXT if text is None else text
        return out, trim(source, out, Wanted(**spec), [WeightedLines(lambda: iter(lines))], silent)

    return run
