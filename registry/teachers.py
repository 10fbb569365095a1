"""Teachers by name: their shapes for planning, and where their weights come from."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ndogo.core.errors import NdogoError, unknown
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

        fields = dict(entry["config"])
        return Teacher(name, AutoConfig.for_model(fields.pop("model_type"), **fields), entry["specials"], entry["hub"])
    path = Path(name)
    if path.is_dir():
        from ndogo.core.models import has_pooler, load_config, load_tokenizer

        specials = len(set(load_tokenizer(path).all_special_ids))
        return Teacher(path.name, load_config(path), specials, pooler=has_pooler(path))
    raise unknown("teacher", name, teacher_names(), where="--teacher", otherwise="Or give a model directory.")


def _table() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def weights(name: str, entry: Language, profile: Profile) -> Path:
    """The directory of the teacher that a run starts from: the one named, else the profile's own.

    :raises NdogoError: the profile has none, or the name is no directory.
    """
    if not name and profile == "pocket":
        from ndogo import pocket

        return pocket.teacher()
    if profile == "hub":
        return _download(_table().get(name or DEFAULT_HUB_TEACHER, {}).get("hub", name))
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
