"""How a model's folder says that vectors are made of its states, in sentence-transformers' form: read, carried and written.

modules.json lists the modules: the encoder itself, a pooling, perhaps dense layers, perhaps a normalisation, each with a folder
of its own. A folder that lists none is read as sentence-transformers reads it: the mean of the last states.
Shapes: H hidden width before a cut, K after it.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ndogo.core.documents import read_json
from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    from torch import Tensor, nn

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
    settings = read_json(folder / PROMPTS) if (folder / PROMPTS).is_file() else {}
    prompts = {str(name): str(text) for name, text in (settings.get("prompts") or {}).items() if text}
    if not (folder / MODULES).is_file():
        return Vectors(prompts=prompts)
    pooling, dense, normalize = "mean", [], False
    for module in _modules(folder):
        kind = _kind(module)
        if kind == "Pooling":
            pooling = _pooling(read_json(folder / module["path"] / "config.json"), folder / module["path"])
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


def sentence_files(folder: Path) -> list[str]:
    """The paths, within a model directory, of all that says how vectors are made; none where nothing is said."""
    found = [name for name in SETTINGS if (folder / name).is_file()]
    if MODULES in found:
        for path in filter(None, (module["path"] for module in _modules(folder))):
            inner = sorted(f for f in (folder / path).glob("*") if f.suffix != ".bin" and f.is_file())
            found += [str(file.relative_to(folder)) for file in inner]
    return found


def copy_sentence_files(source: Path, out: Path, basis_HK: "Tensor | None" = None) -> int:
    """Copy them beside the model in `out`, the pooling told of its width.

    `basis_HK`: what the channels are of the source's, where the hidden width was cut. The first dense layer then reads these;
    without it no dense layer fits another width, and all of them go.

    :returns: how many dense layers went.
    """
    for name in sentence_files(source):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, out / name)
    if not (out / MODULES).is_file():
        return 0
    old, width = _width(source), _width(out)
    if old == width and basis_HK is None:
        return 0
    for module in _modules(out):
        if _kind(module) == "Pooling" and old != width:
            file = out / module["path"] / "config.json"
            settings = read_json(file)
            _write(file, settings | {key: width for key in WIDTHS if key in settings})
    dense = [module["path"] for module in _modules(out) if _kind(module) == "Dense"]
    if dense and basis_HK is None:
        write_modules(out, (), read_vectors(out))
        return len(dense)
    if dense:
        assert basis_HK is not None
        _read_through(out / dense[0], basis_HK)
    return 0


def _read_through(folder: Path, basis_HK: "Tensor") -> None:
    """Have a dense layer read channels that are `basis_HK` of those that it read."""
    from safetensors.torch import save_file

    weights = dense_weights(folder)
    matrix = weights["linear.weight"]
    weights["linear.weight"] = (matrix.double() @ basis_HK.double()).to(matrix.dtype).contiguous()
    save_file(weights, folder / WEIGHTS)
    _write(folder / "config.json", read_json(folder / "config.json") | {"in_features": basis_HK.shape[1]})


def _width(folder: Path) -> int:
    from ndogo.core.architectures import shape_of
    from ndogo.core.models import load_config

    return shape_of(load_config(folder)).hidden


def write_modules(out: Path, dense: "tuple[nn.Linear, ...]", vectors: Vectors) -> None:
    """Say in the model's folder `out` that its vectors are pooled as `vectors` says and pass through `dense` and then, where
    `vectors` says so, are normalised; what it said before goes, its prompts stay.
    """
    from safetensors.torch import save_file

    width = _width(out)
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


def _kind(module: Mapping[str, Any]) -> str:
    return str(module["type"]).rpartition(".")[2]


def _modules(folder: Path) -> list[dict[str, Any]]:
    found = read_json(folder / MODULES)
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


def dense_weights(folder: Path) -> dict[str, "Tensor"]:
    """The tensors of a dense layer's folder, in fp32.

    :raises NdogoError: no safetensors.
    """
    from safetensors.torch import load_file

    file = folder / WEIGHTS
    if not file.is_file():
        raise NdogoError(
            "The dense layer has no safetensors.", where=str(folder), cure="Save it anew with sentence-transformers."
        )
    return {name: tensor.float() for name, tensor in load_file(file).items()}


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
