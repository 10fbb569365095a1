"""Loading and saving a model directory: strictly, safetensors only, stock classes only."""

import base64
import hashlib
import inspect
import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from ndogo.core.directories import TOKENIZER_FILES, check_model_directory
from ndogo.core.documents import read_json
from ndogo.core.errors import NdogoError, refusing
from ndogo.core.size import check_sizes
from ndogo.core.task_heads import head_that_differs

transformers.utils.logging.disable_progress_bar()

PRETRAINING_PARTS = re.compile(r"(^|\.)(pooler|seq_relationship)\.|\.position_ids$")
"""What published masked-LM checkpoints carry beside the masked-LM model, and its class has no place for."""
CHARSMAP = re.compile(rb'"precompiled_charsmap"\s*:\s*("[^"]*")')
"""SentencePiece's table of replacements in a tokenizer.json: the size of its first part, four bytes, then its parts."""


def weights_digest(folder: Path) -> str:
    """Names the weights of a model directory: sha256 over its files of weights."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("model*.safetensors")):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def load_config(path: Path) -> PreTrainedConfig:
    """The configuration of a model directory, or of a bare config.json file.

    :raises NdogoError: it cannot be read, or needs code of its own.
    """
    file = path / "config.json" if path.is_dir() else path
    _check_config(read_json(file), file)
    with refusing("The configuration cannot be read", where=str(file)):
        config: PreTrainedConfig = AutoConfig.from_pretrained(str(file), local_files_only=True)
    check_sizes({name: getattr(config, name, None) for name in SIZES}, where=str(file))
    if config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise NdogoError(f"`{config.model_type}` is here no encoder alone.", where=str(file), cure="Take an encoder.")
    return config


SIZES = (
    "vocab_size",
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "max_position_embeddings",
)
"""What an encoder's configuration may state."""
MOST_LABELS = 100_000
GENERATING = ("CausalLM", "LMHeadModel", "ConditionalGeneration", "Decoder")


def _check_config(raw: Any, file: Path) -> None:
    """Refuse what transformers would stumble over, or run."""
    if not isinstance(raw, dict):
        raise NdogoError("A configuration is a table of names and values.", where=str(file))
    if "auto_map" in raw:
        raise NdogoError("The model needs code of its own, which is never run.", where=f"{file}: auto_map")
    named, labels = raw.get("architectures") or [], raw.get("num_labels", 0)
    if not isinstance(raw.get("model_type"), str):
        raise NdogoError("model_type is the name of an architecture.", where=f"{file}: model_type")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise NdogoError("architectures lists names of classes.", where=f"{file}: architectures")
    if not isinstance(labels, int | None) or not 0 <= (labels or 0) <= MOST_LABELS:
        raise NdogoError(f"num_labels is a number up to {MOST_LABELS:,}.", where=f"{file}: num_labels")
    if type(raw.get("pad_token_id", 0)) is not int:
        raise NdogoError("pad_token_id is the number of the padding token.", where=f"{file}: pad_token_id")


def model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The stock class that `config.architectures` names.

    :raises NdogoError: none is named, transformers has no such class of models, or it is one that generates text.
    """
    name = (config.architectures or [""])[0]
    found: Any = None
    with refusing("The class cannot be had", where=f"config.json: architectures: {name}"):
        found = getattr(transformers, name, None) if re.fullmatch(r"[A-Z][A-Za-z0-9]+", name) else None
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        raise NdogoError(
            f"transformers {transformers.__version__} has no class `{name}`.",
            where="config.json: architectures",
            cure="Name a stock class, such as XLMRobertaForMaskedLM.",
        )
    if name.endswith(GENERATING):
        raise NdogoError(
            f"`{name}` generates text, and this is for encoders.",
            where="config.json: architectures",
            cure="Take an encoder.",
        )
    return found


def load_model(path: Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load a model directory strictly, in evaluation mode, on the CPU; poolers and the like of pretraining are left behind.
    A bare encoder whose weights hold no pooler has none.

    :raises NdogoError: not a model directory, or a missing, unexpected or mismatched tensor.
    """
    check_model_directory(path)
    return _load(path, dtype=dtype, use_safetensors=True)


def load_pickled(path: Path) -> PreTrainedModel:
    """Load pickled weights as strictly, by the reader that builds tensors and nothing else: no code in them is run.

    :raises NdogoError: they ask for code, or do not fit the configuration.
    """
    return _load(path, dtype=torch.float32, use_safetensors=False)


def _load(path: Path, **options: Any) -> PreTrainedModel:
    kind = model_class(load_config(path))
    model, info = _from_pretrained(kind, path, **options)
    if info["missing_keys"] and all(key.startswith("pooler.") for key in info["missing_keys"]):
        # sentence encoders are saved without the pooler that their class would draw at random
        model, info = _from_pretrained(kind, path, **options, add_pooling_layer=False)
    info["unexpected_keys"] = {key for key in info["unexpected_keys"] if not PRETRAINING_PARTS.search(key)}
    faults = {key: sorted(map(str, value)) for key, value in info.items() if value and key.endswith("_keys")}
    if faults:
        raise NdogoError(f"The weights do not fit the configuration: {faults}", where=str(path))
    model.eval()
    return model


def _from_pretrained(kind: Any, path: Path, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model, and what of its weights did not fit; transformers' own report of it is kept quiet."""
    spoken = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        with refusing("The model cannot be loaded", where=str(path)):
            return _read_weights(kind, path, **options)
    finally:
        transformers.utils.logging.set_verbosity(spoken)


def _read_weights(kind: Any, path: Path, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    try:
        loaded: tuple[PreTrainedModel, dict[str, Any]] = kind.from_pretrained(
            str(path), local_files_only=True, output_loading_info=True, **options
        )
        return loaded
    except pickle.UnpicklingError as error:
        raise NdogoError(
            "The pickled weights ask for code to be run, which is never done.",
            where=str(path),
            cure="Use a copy of the model with *.safetensors; do not open this one elsewhere.",
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        if other := head_that_differs(path, load_config(path)):
            raise other from error
        raise


def has_pooler(path: Path) -> bool:
    """Whether the weights of a model directory hold a pooler: sentence vectors that are a mean of states need none."""
    try:
        for file in path.glob("*.safetensors"):
            with safe_open(file, framework="pt") as opened:
                if any(re.search(r"(^|\.)pooler\.", name) for name in opened.keys()):  # noqa: SIM118  not a dict
                    return True
    except (OSError, SafetensorError) as error:
        raise NdogoError(f"The weights cannot be read: {error}", where=str(path)) from error
    return False


def without_pooler(kind: type[PreTrainedModel]) -> dict[str, bool]:
    """What to hand to a class that is to be built without a pooler; nothing where it has no choice."""
    choice = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if choice else {}


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory.

    :raises NdogoError: none is there, or it cannot be read.
    """
    check_tokenizer(path)
    with refusing("The tokenizer cannot be loaded", where=str(path)):
        return AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)


def check_tokenizer(path: Path) -> None:
    """Look at a tokenizer's files before a library does: the one that reads tables asks for as much memory as they say.

    :raises NdogoError: no regular file, or a table of replacements that cannot be one.
    """
    for name in TOKENIZER_FILES:
        if (path / name).exists() and not (path / name).is_file():
            raise NdogoError("The tokenizer's file is no regular file.", where=str(path / name))
    file = path / "tokenizer.json"
    for table in CHARSMAP.findall(file.read_bytes()) if file.exists() else ():
        with refusing("The tokenizer's table of replacements (precompiled_charsmap) cannot be read", where=str(file)):
            content = base64.b64decode(json.loads(table), validate=True)
            if len(content) < 4 + int.from_bytes(content[:4], "little"):
                raise ValueError("it is shorter than it says")


def save(model: PreTrainedModel, path: Path) -> None:
    """Write config.json (naming the model's class) and one model.safetensors, tied tensors once."""
    path.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = next(model.parameters()).dtype
    model.save_pretrained(str(path), max_shard_size="100GB")


def parameters(model: nn.Module) -> int:
    """Distinct stored parameters: tied weights count once."""
    return sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())


def empty_model(
    config: PreTrainedConfig, kind: type[PreTrainedModel] | None = None, *, pooler: bool = True
) -> PreTrainedModel:
    """The model of a configuration without any memory for its weights (on the meta device).

    `pooler` false: a bare encoder is built without one.
    """
    built = kind or model_class(config)
    with refusing("No model can be built from this configuration", where="config.json"):
        with torch.device("meta"):
            model = built(config, **({} if pooler else without_pooler(built)))
        model.tie_weights()
    return model


def encoder_parameters(config: PreTrainedConfig) -> int:
    """Parameters of the bare encoder with its pooler, as papers count them, whatever head the model has."""
    bare: Any = MODEL_MAPPING[type(config)]
    return parameters(empty_model(config, bare))


def copy_tokenizer(source: Path, out: Path) -> None:
    """Copy the tokenizer's own files as they are, byte for byte."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
