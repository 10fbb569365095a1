"""A tiny language of one's own, as a user adds it: text, four benchmarks and a pico teacher, ready in a moment."""

import json
from pathlib import Path

from ndogo.evaluation import EvaluationSettings
from ndogo.registry.bundles import open_store
from ndogo.registry.corpora import corpus
from ndogo.steps.recipe import Recipe
from ndogo.tasks.run import Run
from tests.pico import TEXT

NAME = "tiny"
WORDS = [
    "watoto",
    "mtoto",
    "kitabu",
    "vitabu",
    "serikali",
    "mpira",
    "elimu",
    "nyumbani",
    "uwanjani",
    "mezani",
    "chini",
    "siku",
    "kila",
    "mpya",
    "kizuri",
    "dogo",
]


def lines(count: int = 400) -> list[str]:
    """Sentences of a few words each, all different, the same every time."""
    made = []
    for n in range(count):
        words = [WORDS[(n * (k + 3) + k * k) % len(WORDS)] for k in range(4 + n % 4)]
        made.append(f"{' '.join(words).capitalize()} {n}.")
    return TEXT + made


def rows(kind: str, split: str) -> list[dict]:
    """Rows whose label one word decides."""
    start, count = {"train": (0, 48), "dev": (48, 16), "test": (64, 32)}[split]
    made: list[dict] = []
    for n in range(start, start + count):
        tokens = [WORDS[(n * 5 + k * 7) % len(WORDS)] for k in range(5)]
        good = n % 2 == 0
        tokens[n % 5] = "nzuri" if good else "mbaya"
        if kind in ("sentiment", "topic"):
            made.append({"text": " ".join(tokens), "label": "positive" if good else "negative"})
        else:
            tag = {"ner": ("B-PER", "B-LOC", "O"), "pos": ("ADJ", "ADV", "NOUN")}[kind]
            tags = [tag[0] if t == "nzuri" else tag[1] if t == "mbaya" else tag[2] for t in tokens]
            made.append({"tokens": tokens, "tags": tags})
    return made


def write(folder: Path) -> tuple[Path, Path]:
    """Text file and benchmark folder of the tiny language."""
    text = folder / "tiny.txt"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text("\n".join(lines()) + "\n", encoding="utf-8")
    for kind in ("sentiment", "topic", "ner", "pos"):
        (folder / "benchmarks" / kind).mkdir(parents=True)
        for split in ("train", "dev", "test"):
            file = folder / "benchmarks" / kind / f"{split}.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows(kind, split)), encoding="utf-8")
    return text, folder / "benchmarks"


def run_of(recipe: Recipe, teacher: Path) -> Run:
    """A run on the tiny language, once it is added; each training reads a few lines, as long as the model reads."""
    store = open_store()
    return Run(
        id="run",
        store=store,
        language=NAME,
        profile="local",
        recipe=recipe,
        seed=0,
        original=store.adopt(teacher).key,
        corpus=corpus(NAME, "local").fingerprint(),
        settings=EvaluationSettings(),
        token_cap=200,
    )
