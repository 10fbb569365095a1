"""What sentence-transformers keeps beside a model, so that it still loads what became of it."""

import json
import shutil
from pathlib import Path
from typing import Any

from ndogo.core.errors import NdogoError

MODULES = "modules.json"
SETTINGS = (MODULES, "sentence_bert_config.json", "config_sentence_transformers.json")
WIDTHS = ("word_embedding_dimension", "embedding_dimension")
"""Keys of a pooling module's configuration that repeat the model's width."""


def sentence_files(folder: Path) -> list[str]:
    """The paths of those files in a model directory; none where the model is no sentence-transformers model."""
    if not (folder / MODULES).is_file():
        return []
    found = [name for name in SETTINGS if (folder / name).is_file()]
    for path in _modules(folder):
        found += sorted(
            str(f.relative_to(folder)) for f in (folder / path).glob("*") if f.suffix != ".bin" and f.is_file()
        )
    return found


def copy_sentence_files(source: Path, out: Path) -> None:
    """Copy them beside the model in `out`, the pooling told of the model's new width.

    :raises NdogoError: the width was cut and a layer behind the pooling has weights for the old one.
    """
    names = sentence_files(source)
    if not names:
        return
    old, new = (_read(folder / "config.json")["hidden_size"] for folder in (source, out))
    if old != new and (heavy := [name for name in names if name.endswith(".safetensors")]):
        raise NdogoError(
            f"{heavy[0]} has weights for {old} numbers, and the model now gives {new}.",
            where=str(source),
            cure="Use a recipe that leaves the hidden width as it is, or a teacher without that layer.",
        )
    for name in names:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
        if old != new and name.endswith("/config.json"):
            settings = _read(target)
            settings |= {key: new for key in WIDTHS if settings.get(key) == old}
            target.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _modules(folder: Path) -> list[str]:
    """The folders of the modules that have one of their own."""
    return [module["path"] for module in _read(folder / MODULES) if module.get("path")]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NdogoError(f"The file cannot be read: {error}.", where=str(file)) from error
