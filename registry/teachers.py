"""Teachers by name: their shapes for planning, and where their weights come from."""

import fnmatch
import hashlib
import logging
import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import JsonValue, TypeAdapter

from ndogo.core.errors import NdogoError, unknown
from ndogo.core.frozen import Frozen
from ndogo.core.locks import held
from ndogo.registry.bundles import canonical
from ndogo.registry.corpora import Profile
from ndogo.registry.hub import MAIN, Hub
from ndogo.registry.languages import Language

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

log = logging.getLogger("ndogo.teacher")
FILE = Path(__file__).with_name("teachers.yaml")
DEFAULT_HUB_TEACHER = "afro-xlmr-base"
BESIDE = ("README.md", "*.json", "*.txt", "*.model", "*.jinja", "[0-9]_*/*.json", "[0-9]_*/*.safetensors")
"""What a model is made of beside its weights: card, configuration, tokenizer, and the modules of sentence-transformers."""


@dataclass(frozen=True)
class Teacher:
    """A teacher that can be planned for: its configuration and how many special tokens a trim keeps on top."""

    name: str
    config: "PreTrainedConfig"
    specials: int
    hub: str = ""
    tokenizer_bytes: int = 0
    """Of its tokenizer's files; 0 where it is known by name only."""
    pooler: bool = True
    """Whether its weights hold a pooler, where it is a bare encoder."""


def teacher_names() -> list[str]:
    """The names in teachers.yaml."""
    return list(_table())


def teacher(name: str) -> Teacher:
    """A teacher by its name, or by its directory.

    :raises NdogoError: neither a known name (nearest ones suggested) nor a model directory.
    """
    entry = _table().get(name)
    if entry is not None:
        from transformers import AutoConfig

        fields = dict(entry.config)
        config = AutoConfig.for_model(str(fields.pop("model_type")), **fields)
        return Teacher(name, config, entry.specials, entry.hub)
    path = Path(name)
    if path.is_dir():
        from ndogo.core.download import tokenizer_bytes
        from ndogo.core.models import has_pooler, load_config
        from ndogo.core.specials import count_specials

        specials, size = count_specials(path), tokenizer_bytes(path)
        return Teacher(path.name, load_config(path), specials, tokenizer_bytes=size, pooler=has_pooler(path))
    raise unknown("teacher", name, teacher_names(), where="--teacher", otherwise="Or give a model directory.")


class _Entry(Frozen):
    """One teacher of teachers.yaml."""

    config: dict[str, JsonValue]
    specials: int
    hub: str


@cache
def _table() -> dict[str, _Entry]:
    return TypeAdapter(dict[str, _Entry]).validate_python(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def weights(name: str, entry: Language, profile: Profile, hub: Hub | None = None) -> Path:
    """The directory of the teacher that a run starts from: the one named, else the language's or the profile's own.

    A directory is one in every profile; with the hub profile, or where a language of the user's says so, it may also be a known
    teacher's name or a repository of the hub, `owner/name` or `owner/name@revision`. Pickled weights are converted once.
    :raises NdogoError: the profile has none, the name is no directory, or whatever the hub refuses.
    """
    if not name and profile == "pocket":
        from ndogo import pocket

        return pocket.teacher()
    on_hub = profile == "hub" or (not name and "/" in entry.teacher)
    chosen = name or entry.teacher or os.environ.get("NDOGO_TEACHER", "") or (DEFAULT_HUB_TEACHER if on_hub else "")
    if not chosen:
        raise NdogoError(
            "No teacher is named.",
            where=f"profile: {profile}",
            cure="Give --teacher DIR, or set NDOGO_TEACHER to a directory.",
        )
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        if not on_hub:
            raise NdogoError(
                "There is no such model directory.",
                where=f"teacher: {chosen}",
                cure="With the hub profile, names work.",
            )
        known = _table().get(chosen)
        folder = _fetched(known.hub if known else chosen, hub or Hub())
    return folder if any(folder.glob("*.safetensors")) or not _pickled(folder) else _converted(folder)


def _fetched(repository: str, hub: Hub) -> Path:
    """The folder of a repository's model, with as few files as will do: no other framework's weights, and no code."""
    name, _, revision = repository.partition("@")
    names = hub.files("model", name, revision or MAIN)
    if "config.json" not in names:
        raise NdogoError(
            f"{name} is not a model that can be read: it has no config.json.",
            where=f"teacher: {repository}",
            cure="Name a repository that `transformers` loads.",
        )
    top = [n for n in names if "/" not in n]
    safe = fnmatch.filter(top, "model*.safetensors")
    pickled = fnmatch.filter(top, "pytorch_model*.bin")
    if not safe and not pickled:
        raise NdogoError(
            f"{name} holds no weights that can be read.",
            where=f"teacher: {repository}",
            cure=f"model.safetensors or pytorch_model.bin is needed; it holds: {', '.join(names)}.",
        )
    beside = {n for pattern in BESIDE for n in fnmatch.filter(names if "/" in pattern else top, pattern)}
    return hub.fetch("model", name, [*sorted(beside), *(safe or pickled)], revision or MAIN)


def _pickled(folder: Path) -> bool:
    return any(folder.glob("pytorch_model*.bin"))


def _converted(folder: Path) -> Path:
    """The folder again, with its pickled weights as safetensors: made once, in the Hugging Face cache, by the files' hashes."""
    from huggingface_hub import constants

    from ndogo.core.models import copy_tokenizer, load_pickled, save
    from ndogo.core.sentences import copy_sentence_files
    from ndogo.registry.integrity import file_hash

    content = {f.name: file_hash(f) for f in sorted(folder.glob("*")) if f.is_file()}
    key = hashlib.sha256(canonical(content).encode()).hexdigest()[:20]
    made = Path(constants.HF_HOME) / "ndogo" / "converted" / key
    made.parent.mkdir(parents=True, exist_ok=True)
    with held(made.with_suffix(".lock"), "safetensors of a pickled model", log):
        if not made.is_dir():
            draft = made.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            save(load_pickled(folder), draft)
            copy_tokenizer(folder, draft)
            copy_sentence_files(folder, draft)
            draft.rename(made)
    return made
