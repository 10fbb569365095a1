"""Teachers by name: their shapes for planning, and where their weights come from."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import JsonValue, TypeAdapter

from ndogo.core.errors import NdogoError, unknown
from ndogo.core.frozen import Frozen
from ndogo.registry.corpora import Profile
from ndogo.registry.languages import Language

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

FILE = Path(__file__).with_name("teachers.yaml")
DEFAULT_HUB_TEACHER = "afro-xlmr-base"


@dataclass(frozen=True)
class Teacher:
    """A teacher that can be planned for: its configuration and how many special tokens a trim keeps on top."""

    name: str
    config: "PreTrainedConfig"
    specials: int
    hub: str = ""


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
        from ndogo.core.models import load_config, load_tokenizer

        config = load_config(path)
        return Teacher(path.name, config, len(set(load_tokenizer(path).all_special_ids)))
    raise unknown("teacher", name, teacher_names(), where="--teacher", otherwise="Or give a model directory.")


class _Entry(Frozen):
    """One teacher of teachers.yaml."""

    config: dict[str, JsonValue]
    specials: int
    hub: str


def _table() -> dict[str, _Entry]:
    return TypeAdapter(dict[str, _Entry]).validate_python(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def weights(name: str, entry: Language, profile: Profile) -> Path:
    """The directory of the teacher that a run starts from: the one named, else the profile's own.

    :raises NdogoError: the profile has none, or the name is no directory.
    """
    if not name and profile == "pocket":
        from ndogo import pocket

        return pocket.teacher()
    if profile == "hub":
        known = _table().get(name or DEFAULT_HUB_TEACHER)
        return _download(known.hub if known else name)
    chosen = name or entry.teacher or os.environ.get("NDOGO_TEACHER", "")
    if not chosen:
        raise NdogoError(
            "No teacher is named.",
            where=f"profile: {profile}",
            cure="Give --teacher DIR, or set NDOGO_TEACHER to a directory.",
        )
    if not Path(chosen).is_dir():
        raise NdogoError(
            "There is no such model directory.", where=f"teacher: {chosen}", cure="With the hub profile, names work."
        )
    return Path(chosen)


def _download(repository: str) -> Path:
    """Not tried here: no hub was in reach."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repository, allow_patterns=["*.safetensors", "*.json", "*.model", "*.txt"]))
