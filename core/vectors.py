"""How a model's states become the vector of a text: what its folder says, in sentence-transformers' form, carried and written.

modules.json lists the modules: the encoder itself, a pooling, perhaps dense layers, perhaps a normalisation, each with a folder
of its own. A folder that lists none is read as sentence-transformers reads it: the mean of the last states.
Shapes: B texts, L positions, H hidden width before a cut, K after it, T width of the vector.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ndogo.core.architectures import shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_config

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
SETTINGS = (MODULES, PROMPTS, "sentence_bert_config.json")
POOLINGS = ("mean", "cls", "max")
"""What is understood; other poolings are carried along all the same."""
LEGACY = {"pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean"}
WIDTHS = ("embedding_dimension", "word_embedding_dimension")
"""The key of a pooling's width, today and before sentence-transformers 6."""
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Vectors:
    """What a folder says of its vectors."""

    pooling: str = "mean"
    dense: tuple[str, ...] = ()
    """The folders of the dense layers behind the pooling, in their order."""
    normalize: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    """What is put in front of a text, by its use, such as `query: `."""


def read_vectors(folder: Path) -> Vectors:
    """What a model's folder says of its vectors.

    :raises NdogoError: a file that cannot be read, or a pooling that is not understood.
    """
    settings = _json(folder / PROMPTS) if (folder / PROMPTS).is_file() else {}
    prompts = {str(name): str(text) for name, text in (settings.get("prompts") or {}).items() if text}
    if not (folder / MODULES).is_file():
        return Vectors(prompts=prompts)
    pooling, dense, normalize = "mean", [], False
    for module in _modules(folder):
        kind = _kind(module)
        if kind == "Pooling":
            pooling = _pooling(_json(folder / module["path"] / "config.json"), folder / module["path"])
        elif kind == "Dense":
            dense.append(module["path"])
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise NdogoError(
                f"Vectors that pass through `{kind}` cannot be made here.",
                where=str(folder / MODULES),
                cure="Take a model of Transformer, Pooling, Dense and Normalize.",
            )
    return Vectors(pooling, tuple(dense), normalize, prompts)


def pool(states_BLH: Tensor, real_BL: Tensor, pooling: str) -> Tensor:
    """One vector per text, (B, H), from its real positions, specials included."""
    if pooling == "cls":
        return states_BLH[:, 0]
    real_BL1 = real_BL[..., None]
    if pooling == "max":
        return states_BLH.masked_fill(~real_BL1, torch.finfo(states_BLH.dtype).min).amax(1)
    return (states_BLH * real_BL1).sum(1) / real_BL1.sum(1)


def read_dense(folder: Path, vectors: Vectors) -> nn.Sequential:
    """The dense layers behind the pooling, (B, H) -> (B, T); nothing where there is none.

    :raises NdogoError: no safetensors, or a file that cannot be read.
    """
    layers: list[nn.Module] = []
    for name in vectors.dense:
        settings, weights = _json(folder / name / "config.json"), _weights(folder / name)
        matrix, bias = weights["linear.weight"], weights.get("linear.bias")
        layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None)
        layer.load_state_dict({"weight": matrix} | ({} if bias is None else {"bias": bias}))
        layers += [layer, _activation(settings, folder / name)]
    return nn.Sequential(*layers).requires_grad_(False)


def module_files(folder: Path) -> list[Path]:
    """Every file, relative to the folder, that says how its vectors are made; none where it says nothing."""
    found = [Path(name) for name in SETTINGS if (folder / name).is_file()]
    if Path(MODULES) in found:
        for module in _modules(folder):
            inner = folder / module["path"] if module["path"] else None
            files = sorted(inner.glob("*")) if inner and inner.is_dir() else []
            found += [file.relative_to(folder) for file in files if file.suffix in (".json", ".safetensors")]
    return found


def copy_companions(source: Path, out: Path, basis_HK: Tensor | None = None) -> int:
    """Copy all that a model's folder holds beside its weights and configuration, which must be in `out` already: the tokenizer,
    byte for byte, and how its vectors are made.

    `basis_HK`: what the channels are of the source's, where the hidden width was cut. The first dense layer then reads these;
    without it no dense layer fits another width, and all of them go.

    :returns: how many dense layers went.
    """
    copy_tokenizer(source, out)
    return copy_modules(source, out, basis_HK)


def copy_modules(source: Path, out: Path, basis_HK: Tensor | None = None) -> int:
    """As `copy_companions`, without the tokenizer."""
    for file in module_files(source):
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, out / file)
    width = shape_of(load_config(out)).hidden
    same = width == shape_of(load_config(source)).hidden
    if not (out / MODULES).is_file() or (
        same and (basis_HK is None or torch.equal(basis_HK, torch.eye(width).to(basis_HK)))
    ):
        return 0
    for module in _modules(out):
        if _kind(module) == "Pooling":
            file = out / module["path"] / "config.json"
            settings = _json(file)
            _write(file, settings | {key: width for key in WIDTHS if key in settings})
    dense = [module["path"] for module in _modules(out) if _kind(module) == "Dense"]
    if not dense:
        return 0
    if basis_HK is None:
        write_modules(out, (), read_vectors(out))
        return len(dense)
    first, weights = out / dense[0], _weights(out / dense[0])
    matrix = weights["linear.weight"]
    weights["linear.weight"] = (matrix.double() @ basis_HK.double()).to(matrix.dtype).contiguous()
    save_file(weights, first / WEIGHTS)
    _write(first / "config.json", _json(first / "config.json") | {"in_features": width})
    return 0


def write_modules(out: Path, dense: tuple[nn.Linear, ...], vectors: Vectors) -> None:
    """Say in the model's folder `out` that its vectors are pooled as `vectors` says and pass through `dense` and then, where
    `vectors` says so, are normalised; what it said before goes, its prompts stay.
    """
    width = shape_of(load_config(out)).hidden
    if (out / MODULES).is_file():
        for module in _modules(out):
            if module["path"]:
                shutil.rmtree(out / module["path"], ignore_errors=True)
    kinds = ["Transformer", "Pooling", *["Dense"] * len(dense), *["Normalize"] * vectors.normalize]
    modules = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    for module in modules[1:]:
        (out / str(module["path"])).mkdir()
    mode = {key: name == vectors.pooling for key, name in LEGACY.items()}
    _write(out / "1_Pooling" / "config.json", {"word_embedding_dimension": width} | mode)
    for number, layer in enumerate(dense, 2):
        folder = out / f"{number}_Dense"
        settings = {
            "in_features": layer.in_features,
            "out_features": layer.out_features,
            "bias": layer.bias is not None,
        }
        _write(folder / "config.json", settings | {"activation_function": "torch.nn.modules.linear.Identity"})
        tensors = {f"linear.{name}": p.detach().cpu().contiguous() for name, p in layer.named_parameters()}
        save_file(tensors, folder / WEIGHTS)
    _write(out / MODULES, modules)


def dense_parameters(folder: Path) -> int:
    """Parameters of the dense layers behind the pooling."""
    return sum(parameter.numel() for parameter in read_dense(folder, read_vectors(folder)).parameters())


def _kind(module: Mapping[str, Any]) -> str:
    return str(module["type"]).rpartition(".")[2]


def _modules(folder: Path) -> list[dict[str, Any]]:
    found = _json(folder / MODULES)
    inside = [m for m in found if isinstance(m, dict) and {"type", "path"} <= set(m)] if isinstance(found, list) else []
    outside = [m["path"] for m in inside if Path(m["path"]).is_absolute() or ".." in Path(m["path"]).parts]
    if not inside or len(inside) != len(found) or outside:
        raise NdogoError("This is no list of modules, each with a type and a path within.", where=str(folder / MODULES))
    return inside


def _pooling(settings: Mapping[str, Any], folder: Path) -> str:
    given = settings.get("pooling_mode") or [name for key, name in LEGACY.items() if settings.get(key)]
    found = [given] if isinstance(given, str) else list(given)
    others = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on and key not in LEGACY]
    if len(found) != 1 or found[0] not in POOLINGS or others:
        raise NdogoError(
            f"Vectors that are pooled by {', '.join(map(str, [*found, *others])) or 'nothing'} cannot be made here.",
            where=str(folder / "config.json"),
            cure=f"One of {', '.join(POOLINGS)} alone is understood.",
        )
    return str(found[0])


def _activation(settings: Mapping[str, Any], folder: Path) -> nn.Module:
    name = str(settings.get("activation_function", "Identity")).rpartition(".")[2]
    known: dict[str, type[nn.Module]] = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}
    if name not in known:
        raise NdogoError(f"`{name}` behind a dense layer is not known.", where=str(folder / "config.json"))
    return known[name]()


def _weights(folder: Path) -> dict[str, Tensor]:
    file = folder / WEIGHTS
    if not file.is_file():
        raise NdogoError(
            "The dense layer has no safetensors.", where=str(folder), cure="Save it anew with sentence-transformers."
        )
    return {name: tensor.float() for name, tensor in load_file(file).items()}


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NdogoError(f"The file cannot be read: {error}", where=str(file)) from error


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
