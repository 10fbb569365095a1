"""How many special tokens a tokenizer has, without building its vocabulary: a quarter of a million entries take seconds.

transformers itself reads a copy whose vocabulary holds little more than the specials, so that its rules alone decide.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndogo.core.directories import TOKENIZER_FILES
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LIKELY = re.compile(r"^[<\[].*[>\]]$")
"""What special tokens look like; one that a tokenizer's files name is kept whatever it looks like."""
WHOLE = "tokenizer.json"
NAMING = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def count_specials(folder: Path) -> int:
    """Distinct special tokens of the tokenizer in a model directory.

    :raises NdogoError: none is there, or it cannot be read.
    """
    with tempfile.TemporaryDirectory() as temporary:
        small = Path(temporary)
        try:
            for name in ("config.json", *TOKENIZER_FILES):
                if (folder / name).is_file() and name != WHOLE:
                    shutil.copyfile(folder / name, small / name)
            if (folder / WHOLE).is_file():
                words = _without_words(json.loads((folder / WHOLE).read_bytes()), _named(small))
                (small / WHOLE).write_text(json.dumps(words), encoding="utf-8")
            tokenizer = load_tokenizer(small)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, NdogoError):
            tokenizer = load_tokenizer(folder)  # of a form that is not known here, or broken
        return len(set(tokenizer.all_special_ids))


def _named(folder: Path) -> set[str]:
    """Every word that the small files beside the vocabulary say."""
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, str):
            found.add(value)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(part)
        found.update(value if isinstance(value, dict) else ())

    for name in NAMING:
        if (folder / name).is_file():
            walk(json.loads((folder / name).read_bytes()))
    return found


def _without_words(whole: dict[str, Any], named: Collection[str]) -> dict[str, Any]:
    """A tokenizer.json whose vocabulary holds what may be special."""
    model, added = whole["model"], whole["added_tokens"]
    wanted = {*named, *(token["content"] for token in added), model.get("unk_token")}
    if model["type"] == "Unigram":
        unknown = model["vocab"][model["unk_id"]] if model.get("unk_id") is not None else None
        kept = [entry for entry in model["vocab"] if entry[0] in wanted or LIKELY.match(entry[0]) or entry is unknown]
        changed: dict[str, Any] = {"vocab": kept, "unk_id": None if unknown is None else kept.index(unknown)}
        tokens = [entry[0] for entry in kept]
    else:
        arranged = sorted(model["vocab"], key=model["vocab"].__getitem__)
        tokens = [token for token in arranged if token in wanted or LIKELY.match(token)]
        changed = {"vocab": {token: row for row, token in enumerate(tokens)}}
        changed |= {"merges": []} if "merges" in model else {}
    places = {token: row for row, token in enumerate(dict.fromkeys([*tokens, *(token["content"] for token in added)]))}
    moved = [token | {"id": places[token["content"]]} for token in added]
    return whole | {"model": model | changed, "added_tokens": sorted(moved, key=lambda token: token["id"])}


def ends(tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    """The specials that stand before and behind every sequence."""
    ids, special = tokenizer("a")["input_ids"], set(tokenizer.all_special_ids)
    before = next(place for place, token in enumerate(ids) if token not in special)
    behind = next(place for place, token in enumerate(reversed(ids)) if token not in special)
    return ids[:before], ids[len(ids) - behind :]
