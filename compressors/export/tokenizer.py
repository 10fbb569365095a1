"""The tokenizer as one small file: what the loaded tokenizer does, without indentation, escapes or repeated facts."""

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ndogo.core.errors import NdogoError


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, file: Path) -> int:
    """Write a tokenizer.json that gives the same tokens; its bytes.

    It is what transformers makes of the directory, which can differ from the tokenizer.json that lies there.

    :raises NdogoError: the tokenizer has no fast form.
    """
    if not tokenizer.is_fast:
        raise NdogoError("The tokenizer has no fast form.", where=str(file), cure="Save it with a tokenizer.json.")
    backend: Any = tokenizer.backend_tokenizer
    content = json.loads(backend.to_str())
    content["truncation"] = content["padding"] = None
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    file.write_text(text, encoding="utf-8")
    return len(text.encode())
