"""What a model directory holds, and taking one away, without torch: whoever only looks for files need not load it."""

import shutil
from pathlib import Path

from ndogo.core.errors import NdogoError

PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.ckpt")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)


def check_model_directory(path: Path) -> None:
    """Refuse what is not a model directory with safetensors.

    :raises NdogoError: no directory, no config.json, or pickled weights only.
    """
    if not path.is_dir():
        raise NdogoError(f"There is no model directory at {path}.", where=str(path), cure="Check the path.")
    if not (path / "config.json").is_file():
        raise NdogoError(
            "This is not a model directory: it has no config.json.",
            where=str(path),
            cure="Give a directory written by `save_pretrained`.",
        )
    if any(path.glob("*.safetensors")):
        return
    pickled = [name for name in PICKLED if (path / name).is_file()]
    if pickled:
        raise NdogoError(
            f"Only pickled weights ({pickled[0]}) are here; they can run code when they are read.",
            where=str(path),
            cure="Name the directory as a run's --teacher, which reads them without running code; or convert them once: "
            f"python -c \"import transformers as t; c = t.AutoConfig.from_pretrained('{path}'); "
            f"getattr(t, c.architectures[0]).from_pretrained('{path}').save_pretrained('{path}')\"",
        )
    raise NdogoError("The directory holds no *.safetensors.", where=str(path))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
