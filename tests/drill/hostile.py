"""Input that someone made on purpose: bombs, code, paths that lead out. None may run, write outside or fill the machine."""

import gzip
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.drill.forks import in_fork
from tests.drill.inputs import command
from tests.drill.table import Row


def hostile(root: Path, model: Path, most: int, _: int) -> Row:
    """Each input once; a canary file says whether foreign code ran."""
    row, canary = Row("hostile input"), root / "canary"
    (root / "said.txt").touch()
    for name, make in list(INPUTS.items())[:most]:
        folder = root / "hostile"
        folder.mkdir()
        call = make(folder, model, canary)
        outside = set(root.iterdir())
        ended = in_fork(call, root)
        new = [file.name for file in set(root.iterdir()) - outside]
        row.add(name, ended, wrong=canary.exists() or ended.word == "accepted", other=f"left {new}" if new else "")
        _remove(folder)
    return row


def _recipe(text: Callable[[Path], str]) -> "Maker":
    def make(folder: Path, model: Path, canary: Path) -> Callable[[], object]:
        file = folder / "recipe.yaml"
        file.write_text(text(canary))
        return command("plan", "--recipe", str(file), "--teacher", str(model))

    return make


def _recipe_at(path: str, before: Callable[[Path], object] = lambda _: None) -> "Maker":
    def make(folder: Path, model: Path, _: Path) -> Callable[[], object]:
        before(folder)
        (folder / "recipe.yaml").symlink_to(path if path.startswith("/") else folder / path)
        return command("plan", "--recipe", str(folder / "recipe.yaml"), "--teacher", str(model))

    return make


def _model(change: Callable[[Path, Path], str]) -> "Maker":
    def make(folder: Path, model: Path, canary: Path) -> Callable[[], object]:
        copy = folder / "model"
        copy.mkdir()
        for file in model.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        change(copy, canary)
        return command("truncate", str(copy), "--layers", "1", "--out", str(folder / "out"))

    return make


def _corpus(name: str, content: Callable[[], bytes]) -> "Maker":
    def make(folder: Path, model: Path, _: Path) -> Callable[[], object]:
        (folder / name).write_bytes(content())
        words = ("trim", str(model), "--corpus", str(folder / name), "--size", "150", "--out", str(folder / "out"))
        return command(*words)

    return make


def _corpus_at(make_file: Callable[[Path], object]) -> "Maker":
    def make(folder: Path, model: Path, _: Path) -> Callable[[], object]:
        make_file(folder / "text.txt")
        words = (
            "trim",
            str(model),
            "--corpus",
            str(folder / "text.txt"),
            "--size",
            "150",
            "--out",
            str(folder / "out"),
        )
        return command(*words)

    return make


def _config(**fields: object) -> "Maker":
    def change(copy: Path, _: Path) -> str:
        raw = json.loads((copy / "config.json").read_text())
        return str((copy / "config.json").write_text(json.dumps(raw | fields)))

    return _model(change)


class _Runs:
    """A pickle that touches the canary when it is read."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def _pickled(copy: Path, canary: Path) -> str:
    (copy / "model.safetensors").unlink()
    with zipfile.ZipFile(copy / "pytorch_model.bin", "w") as packed:
        packed.writestr("archive/data.pkl", pickle.dumps(_Runs(canary)))
    return ""


def _own_code(copy: Path, canary: Path) -> str:
    (copy / "mine.py").write_text(f"open({str(canary)!r}, 'w')")
    raw = json.loads((copy / "config.json").read_text())
    return str(
        (copy / "config.json").write_text(
            json.dumps(raw | {"auto_map": {"AutoConfig": "mine.C", "AutoModel": "mine.M"}})
        )
    )


def _sparse(copy: Path, _: Path) -> str:
    with (copy / "config.json").open("wb") as file:
        file.truncate(10 * 2**30)
    return ""


def _pipe(copy: Path, _: Path) -> str:
    (copy / "config.json").unlink()
    os.mkfifo(copy / "config.json")
    return ""


def _outside(copy: Path, _: Path) -> str:
    listed = [{"idx": 0, "name": "0", "path": "../../..", "type": "sentence_transformers.models.Pooling"}]
    return str((copy / "modules.json").write_text(json.dumps(listed)))


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


HEAD = "name: x\nsteps:\n"
LAUGHS = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))])
Maker = Callable[[Path, Path, Path], Callable[[], object]]
INPUTS: dict[str, Maker] = {
    "python tag": _recipe(lambda canary: f"a: !!python/object/apply:os.system ['touch {canary}']"),
    "python name": _recipe(lambda _: "a: !!python/name:os.system"),
    "anchor bomb": _recipe(lambda _: f"{LAUGHS}\n{HEAD}  - trim: {{size: 5}}"),
    "deep list": _recipe(lambda _: "[" * 100_000),
    "3,000 steps": _recipe(lambda _: HEAD + "  - truncate: {layers: 1}\n" * 3000),
    "6 MB of recipe": _recipe(lambda _: HEAD + "# x\n" * 1_500_000),
    "10^9 layers": _recipe(lambda _: HEAD + "  - fresh: {layers: 1000000000, hidden: 8, ffn: 8, heads: 1}"),
    "10^9 wide": _recipe(lambda _: HEAD + "  - fresh: {layers: 1, hidden: 1000000000, ffn: 8, heads: 1}"),
    "5,000 digits": _recipe(lambda _: HEAD + f"  - trim: {{size: {'9' * 5000}}}"),
    "a recipe that is a pipe": _recipe_at("pipe", lambda folder: os.mkfifo(folder / "pipe")),
    "a recipe that is /dev/zero": _recipe_at("/dev/zero"),
    "code of its own": _model(_own_code),
    "pickled weights with code": _model(_pickled),
    "10 GB of config.json": _model(_sparse),
    "a config.json that is a pipe": _model(_pipe),
    "10^12 labels": _config(num_labels=10**12),
    "10^9 layers of a model": _config(num_hidden_layers=10**9),
    "a vocabulary of 10^12": _config(vocab_size=10**12),
    "a class that is a function": _config(architectures=["pipeline"]),
    "a class that is dunder": _config(architectures=["__init__"]),
    "modules outside": _model(_outside),
    "gzip bomb of zeros": _corpus("text.txt.gz", lambda: gzip.compress(bytes(300_000_000), 6)),
    "gzip bomb of empty lines": _corpus("text.txt.gz", lambda: gzip.compress(b"\n" * 100_000_000, 6)),
    "a line of 50 MB": _corpus("text.txt", lambda: b"a b " * 12_500_000),
    "a word of 50 MB": _corpus("text.txt", lambda: b"a" * 50_000_000),
    "JSON of 100,000 brackets": _corpus("text.jsonl", lambda: b"[" * 100_000),
    "a corpus that is a pipe": _corpus_at(lambda path: os.mkfifo(path)),
    "a corpus that is /dev/zero": _corpus_at(lambda path: path.symlink_to("/dev/zero")),
    "a corpus that is itself": _corpus_at(lambda path: path.symlink_to(path)),
}
