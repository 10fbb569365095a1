"""A static folder that runs the model in a browser: the page of web/, the runtime, and one file of an export."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ndogo.core.errors import NdogoError
from ndogo.core.exported import FOLDER, MANIFEST, TOKENIZER

SOURCE = Path(__file__).parent / "web"
FACTS = "page.json"

READS = {
    "normalizer": {
        "Sequence",
        "Precompiled",
        "BertNormalizer",
        "Lowercase",
        "StripAccents",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
    },
    "pre_tokenizer": {"Sequence", "WhitespaceSplit", "Metaspace", "BertPreTokenizer", "ByteLevel"},
    "model": {"Unigram", "WordPiece", "BPE"},
    "post_processor": {"Sequence", "TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"},
}
"""The parts of a tokenizer.json that web/tokenizer.js knows."""

LINES = 12
"""Sentences that stand in the list to search in."""


def page(bundle: Path, out: Path, lines: Sequence[str] = ()) -> Path:
    """Write the page of an export with its default file to `out`, and some `lines` to try it with; `out`.

    :raises NdogoError: there is no export, or its tokenizer has a part that the page does not know.
    """
    folder = bundle / FOLDER
    if not (folder / MANIFEST).is_file():
        raise NdogoError("There is no export here.", where=str(bundle), cure="Run `ndogo export` first.")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    _check(folder / TOKENIZER)
    shutil.copytree(SOURCE, out, dirs_exist_ok=True)
    name = manifest["default"]
    for file in (name, TOKENIZER):
        shutil.copyfile(folder / file, out / file)
    facts: dict[str, Any] = {key: value for key, value in manifest.items() if key not in ("files", "default")}
    shown = list(lines)[:LINES]
    facts |= {"file": name, "bytes": manifest["files"][name]["bytes"], "lines": shown, "examples": _examples(shown)}
    (out / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return out


def _examples(lines: Sequence[str]) -> dict[str, str]:
    """What stands in the forms at first: a line, and for masks one whose middle word is missing."""
    if not lines:
        return {"fill": "<mask>"}
    words = lines[0].split()
    words[len(words) // 2] = "<mask>"
    return {"fill": " ".join(words), "classify": lines[0], "tag": lines[0], "nearest": lines[-1]}


def _check(file: Path) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    for part, known in READS.items():
        wrong = sorted(_kinds(content[part]) - known)
        if wrong:
            raise NdogoError(
                f"The page cannot read the tokenizer's {part} {', '.join(wrong)}.",
                where=str(file),
                cure=f"Known: {', '.join(sorted(known))}. The export itself runs everywhere else.",
            )


def _kinds(config: Any) -> set[str]:
    """The types of a part of a tokenizer and of what it consists of."""
    if config is None:
        return set()
    inside = [config.get(name, []) for name in ("normalizers", "pretokenizers", "processors")]
    return {config["type"]}.union(*(_kinds(item) for items in inside for item in items))
