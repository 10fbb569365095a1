"""Bad input by a seeded generator: recipes, model directories, tokenizers, corpora, benchmarks, options, languages.

Good material is changed at a random place, in its structure or in its bytes. Whatever comes of it, the command may do the work or
refuse it in a sentence; it may not show a traceback, hang, fill the memory or leave files behind.
"""

import copy
import gzip
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 10**9, 10**30, -(10**30), 1e-300, float("inf"), float("-inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "²",
        "0",
        "1/0",
        "0/1",
        "-1/2",
        "3/2",
        "1/2",
        "yes",
        "NaN",
        "2024-01-01",
        "[",
        "{",
        "*a",
        "&a b",
        "!!int x",
    ),
    *([], {}, [[]], [0], [-1, 0], [None], {"a": {}}, {"": 1}, [1] * 200),
    *(
        "\u200b",
        "\x00",
        "\ud800",
        "\U0001f600" * 3,
        "x" * 5000,
        "../x",
        "/etc/passwd",
        "/dev/zero",
        "a\nb",
        "a: b",
        "=",
        "hf:",
        "hf:x",
    ),
    *(
        "original",
        "trim",
        "import",
        "__class__",
        "pipeline",
        "Path",
        "AutoModel",
        "BertTokenizer",
        "T5ForConditionalGeneration",
    ),
)


@dataclass(frozen=True)
class Case:
    """One input: how it was made, and the call that meets it."""

    kind: str
    made: str
    call: Callable[[], object]


@dataclass(frozen=True)
class Material:
    """What is good: a model directory, lines of text, recipes."""

    model: Path
    lines: tuple[str, ...]
    recipes: tuple[str, ...]


def cases(seed: int, count: int, good: Material, folder: Path) -> Iterator[Case]:
    """So many inputs; each lies in `folder`, which is emptied before the next is made."""
    makers = (recipe, config, tokenizer, weights, corpus, benchmark, options, language)
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        maker = makers[number % len(makers)]
        yield maker(draw, good, folder)


def command(*words: str) -> Callable[[], object]:
    """The `ndogo` command with these words, as a person would type it."""

    def call() -> object:
        import sys

        from ndogo import cli

        sys.argv = ["ndogo", *words]
        return cli.main()

    return call


def recipe(draw: random.Random, good: Material, folder: Path) -> Case:
    """A recipe that was changed, planned."""
    raw = yaml.safe_load(draw.choice(good.recipes))
    made = "structure"
    for _ in range(draw.choice((1, 1, 2, 4))):
        change(draw, raw)
    text = _dumped(raw)
    if draw.random() < 0.4:
        made, text = "text", garbled(draw, draw.choice(good.recipes).encode()).decode("utf-8", "surrogateescape")
    file = folder / "recipe.yaml"
    file.write_bytes(text.encode("utf-8", "surrogateescape" if made == "text" else "surrogatepass"))
    return Case("recipe", made, command("plan", "--recipe", str(file), "--teacher", str(good.model)))


def config(draw: random.Random, good: Material, folder: Path) -> Case:
    """A model directory whose config.json was changed."""
    model = linked(good.model, folder / "model", "config.json")
    raw = json.loads((good.model / "config.json").read_text())
    key = draw.choice([*raw, "auto_map", "quantization_config", "num_labels", "is_decoder", "id2label"])
    raw[key] = draw.choice(NASTY)
    text = json.dumps(raw) if draw.random() < 0.7 else garbled(draw, json.dumps(raw).encode()).decode("latin-1")
    if draw.random() < 0.1:
        text = json.dumps(draw.choice(NASTY))
    (model / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    return Case("config.json", key, _any_step(draw, model, good, folder))


def tokenizer(draw: random.Random, good: Material, folder: Path) -> Case:
    """A model directory one of whose tokenizer's files was changed."""
    name = draw.choice(("tokenizer.json", "tokenizer.json", "tokenizer_config.json"))
    model = linked(good.model, folder / "model", name)
    raw = json.loads((good.model / name).read_text())
    change(draw, raw)
    content = json.dumps(raw).encode() if draw.random() < 0.7 else garbled(draw, json.dumps(raw).encode())
    (model / name).write_bytes(content)
    return Case("tokenizer", name, _any_step(draw, model, good, folder))


def weights(draw: random.Random, good: Material, folder: Path) -> Case:
    """A model directory whose weights were damaged."""
    model = linked(good.model, folder / "model", "model.safetensors")
    (model / "model.safetensors").write_bytes(garbled(draw, (good.model / "model.safetensors").read_bytes()))
    return Case("weights", "bytes", _any_step(draw, model, good, folder))


def corpus(draw: random.Random, good: Material, folder: Path) -> Case:
    """A text of some format, damaged."""
    suffix = draw.choice((".txt", ".txt.gz", ".jsonl", ".jsonl.gz", ".parquet"))
    lines = list(good.lines[:200])
    for _ in range(draw.choice((0, 1, 3))):
        place = draw.randrange(len(lines))
        lines[place] = draw.choice(
            ("", "\u200b", "x" * 200_000, "a " * 600_000, "\x00" * 50, "\ufeff", "e\u0301" * 1000)
        )
    values: list[Any] = list(lines)
    if draw.random() < 0.5:
        values[draw.randrange(len(values))] = draw.choice(NASTY)
    content = _packed(suffix, lines, values, draw)
    if draw.random() < 0.5:
        content = garbled(draw, content)
    file = folder / f"text{suffix}"
    file.write_bytes(content)
    weight = draw.choice(("=inf", "=nan", "=0", "=-1", "=x", "=1e400", "=2")) if draw.random() < 0.15 else ""
    size = ("--size", "150") if draw.random() < 0.7 else ("--coverage", "0.99")
    words = ("trim", str(good.model), "--corpus", f"{file}{weight}", *size, "--out", str(folder / "out"))
    return Case("corpus", suffix, command(*words))


def benchmark(draw: random.Random, good: Material, folder: Path) -> Case:
    """Rows of a benchmark, damaged."""
    name = draw.choice(("sentiment", "ner", "pos"))
    rows: list[Any] = [
        {"text": line, "label": ("good", "bad")[n % 2]}
        if name == "sentiment"
        else {"tokens": ["a", "b"], "tags": ["B-PER", "O"] if name == "ner" else ["NOUN", "VERB"]}
        for n, line in enumerate(good.lines[:20])
    ]
    change(draw, rows)
    home = folder / "tasks" / name / "sw"
    home.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        packed = gzip.compress("\n".join(json.dumps(row) for row in rows).encode())
        (home / f"{split}.jsonl.gz").write_bytes(garbled(draw, packed) if draw.random() < 0.3 else packed)

    def call() -> object:
        from ndogo.evaluation.rows import read_local

        return read_local(folder, name, "sw").fingerprint()

    return Case("benchmark", name, call)


def options(draw: random.Random, good: Material, folder: Path) -> Case:
    """A command with an option that makes no sense."""
    text = folder / "text.txt"
    text.write_text("\n".join(good.lines[:200]))
    out = draw.choice((folder / "out",) * 8 + (text / "out", folder / ("o" * 300), Path("/proc/x"), folder / "a" / "b"))
    value = str(draw.choice([v for v in NASTY if not isinstance(v, str) or v.isprintable()]))
    value = draw.choice(
        (value, value, "0,a", "0,,1", "0.5", "²", "1e400", "1_000", "0x10", "-", "--", "@", "@/dev/null", f"@{text}")
    )
    chosen = draw.choice(
        (
            ("trim", "--size", value, "--corpus", str(text)),
            ("trim", "--coverage", value, "--corpus", str(text)),
            ("trim", "--size", "150", "--keep", value, "--corpus", str(text)),
            ("trim", "--size", "150", "--corpus", value),
            ("truncate", "--layers", value),
            ("truncate", "--layers", "1", "--keep", value),
            ("prune-ffn", "--size", value, "--importance", "magnitude"),
            ("prune-hidden", "--size", value, "--select", "first"),
            ("fresh", "--layers", value, "--hidden", "8", "--ffn", "16", "--heads", "1"),
            ("fresh", "--layers", "1", "--hidden", value, "--ffn", value, "--heads", "1"),
            ("adapt", "--corpus", str(text), "--steps", "1", "--max-length", value),
            ("adapt", "--corpus", str(text), "--epochs", value, "--max-length", "8", "--mask-probability", "0"),
            ("adapt", "--corpus", str(text), "--minutes", draw.choice(("nan", "inf", "-1", "0", "1e-9", "x"))),
            ("distil", "--teacher", str(good.model), "--corpus", str(text), "--steps", "1", "--objective", value),
        )
    )
    return Case(
        "options", f"{chosen[0]} {value[:20]!r}", command(chosen[0], str(good.model), *chosen[1:], "--out", str(out))
    )


def language(draw: random.Random, good: Material, folder: Path) -> Case:
    """A language of the user's, whose entry was changed."""
    import os

    home = folder / "home" / "languages"
    home.mkdir(parents=True)
    raw: dict[str, Any] = {
        "title": "Mine",
        "code": "mine",
        "timezone": "UTC",
        "corpus": str(folder / "text.txt"),
        "benchmarks": {"sentiment": {"repository": str(folder), "labels": ["a"], "splits": {"dev": "own"}}},
    }
    change(draw, raw)
    text = _dumped(raw).encode("utf-8", "surrogatepass")
    (home / "mine.yaml").write_bytes(garbled(draw, text) if draw.random() < 0.4 else text)

    def call() -> object:
        os.environ["NDOGO_HOME"] = str(folder / "home")
        return command("languages")()

    return Case("language", "entry", call)


def change(draw: random.Random, raw: Any) -> None:
    """Change a plain structure at one random place."""
    while True:
        keys = list(raw) if isinstance(raw, dict) else list(range(len(raw)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(raw[key], dict | list) and raw[key] and draw.random() < 0.8:
            raw = raw[key]
            continue
        how = draw.random()
        if how < 0.7:
            raw[key] = copy.deepcopy(draw.choice(NASTY))
        elif how < 0.8:
            del raw[key]
        elif isinstance(raw, dict):
            raw[draw.choice(("x", "steps", "id", "student", "teacher", "", "weight"))] = copy.deepcopy(
                draw.choice(NASTY)
            )
        else:
            raw.insert(draw.randrange(len(raw)), copy.deepcopy(raw[key]))
        return


def garbled(draw: random.Random, content: bytes) -> bytes:
    """Change bytes at some random places."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(len(found) + 1)
        how = draw.random()
        if how < 0.3:
            del found[at:]
        elif how < 0.5:
            del found[at : at + draw.choice((1, 10, 100))]
        elif how < 0.7:
            found[at:at] = bytes(draw.randrange(256) for _ in range(draw.choice((1, 4, 64))))
        elif how < 0.8:
            found[at:at] = draw.choice(
                (b"[" * 3000, b"{" * 3000, b"9" * 5000, b"\x00", b"- " * 2000, b"&a ", b"*a", b"\n")
            )
        else:
            start = draw.randrange(len(found) + 1)
            found[at:at] = found[start : start + draw.choice((1, 20, 200))]
    return bytes(found)


def linked(model: Path, folder: Path, without: str) -> Path:
    """A copy of a model directory by links, without one file."""
    folder.mkdir()
    for file in model.iterdir():
        if file.name != without and file.is_file():
            (folder / file.name).symlink_to(file)
    return folder


def _any_step(draw: random.Random, model: Path, good: Material, folder: Path) -> Callable[[], object]:
    text, out = folder / "text.txt", str(folder / "out")
    text.write_text("\n".join(good.lines[:200]))
    return command(
        *draw.choice(
            (
                ("truncate", str(model), "--layers", "1", "--out", out),
                ("trim", str(model), "--size", "150", "--corpus", str(text), "--out", out),
                ("prune-ffn", str(model), "--size", "1/2", "--importance", "magnitude", "--out", out),
                ("plan", "--teacher", str(model), "--recipe", "two-step"),
            )
        )
    )


def _dumped(raw: Any) -> str:
    return str(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))


def _packed(suffix: str, lines: list[str], values: list[Any], draw: random.Random) -> bytes:
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        made = draw.choice((lines, list(range(9)), [[line] for line in lines], [{"a": 1}] * 9, [None] * 9, [1.5, None]))
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pa.table({draw.choice(("text", "text", "content", "other")): made}), sink)
        return sink.getvalue()
    text = "\n".join(json.dumps({"text": value}) for value in values) if "jsonl" in suffix else "\n".join(lines)
    content = text.encode("utf-8", "surrogatepass")
    return gzip.compress(content) if suffix.endswith(".gz") else content
