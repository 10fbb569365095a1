"""What a teacher brings back: a student cut to half depth, FFN and width, trained with and without one for the same steps.

    python benchmarks/recovery.py                                       # the pocket world, swahili
    python benchmarks/recovery.py --teacher DIR --text FILE --tasks DIR --language swa [--benchmarks topic ner pos]

Every row is one way to train the same cut student: the loss on held-out text in nats per masked piece (of no meaning where
`relations` alone left the head as it was), and the scores of the fine-tuned encoder in percent.
`--write FILE` puts the table between `<!-- recovery: NAME -->` and `<!-- end: NAME -->`.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import pocket
from benchmarks.blocks import replace_block
from compressors.depth import truncate
from compressors.distillation import TrainingRun, distil
from compressors.distillation.corpus import tokenize
from compressors.distillation.engine import lots_of
from compressors.distillation.lesson import Lesson
from compressors.distillation.objectives import vocabulary_terms
from compressors.width import prune_ffn, prune_hidden
from core.masking import masking_of
from core.models import load_model, load_tokenizer
from core.objectives import Mlm
from core.progress import silent
from core.specs import Adapt, Distil, PruneFfn, PruneHidden, Truncate
from core.text import Lines, lines_of
from evaluation import Benchmark, EvaluationSettings, checked, evaluate, read_local

ARMS: dict[str, dict[str, float] | None] = {
    "cut, not trained": None,
    "no teacher (mlm)": {"mlm": 1.0},
    "relations + mlm": {"relations": 10.0, "mlm": 1.0},
    "relations alone": {"relations": 1.0},
    "logits_kl": {"logits_kl": 1.0},
    "logits_mse + mlm": {"logits_mse": 0.5, "mlm": 0.5},
}
SETTINGS: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 32, "max_length": 64, "warmup": 0.05, "dropout": 0.0}
JUDGED: dict[str, Any] = {
    "mode": "finetune",
    "learning_rates": (1e-3, 2e-3),
    "epochs": 10,
    "patience": 10,
    "seeds": (1,),
    "max_length": 96,
}
HELD_OUT, LINES = 500, 30_000
NATS = "nats/piece"
Scores = dict[str, float]


@dataclass(frozen=True)
class World:
    """Teacher, text and benchmarks of one language."""

    name: str
    teacher: Path
    text: Lines
    held_out: Lines
    benchmarks: tuple[Benchmark, ...]


def pocket_world(language: str, names: Sequence[str]) -> World:
    """The embedded one."""

    def read(name: str) -> Benchmark:
        rows = pocket.benchmark(language, name)
        return checked(name, {split: ((f"{split} {i}", row) for i, row in enumerate(rows[split])) for split in rows})

    return World(
        f"pocket-{language}",
        pocket.teacher(),
        lambda: pocket.corpus(language),
        lambda: pocket.held_out(language, HELD_OUT),
        tuple(read(name) for name in names),
    )


def real_world(asked: argparse.Namespace) -> World:
    """Folders; the last lines of the text are held out."""
    lines = lines_of(asked.text)
    count = sum(1 for _ in lines())
    return World(
        f"real-{asked.language}",
        asked.teacher,
        lambda: islice(lines(), min(LINES, count - HELD_OUT)),
        lambda: islice(lines(), count - HELD_OUT, None),
        tuple(read_local(asked.tasks, name, asked.language) for name in asked.benchmarks),
    )


def halve(world: World, folder: Path) -> Path:
    """Half the layers, half the FFN, half the width, one after the other, as a recipe does."""
    cuts: list[Callable[[Path, Path], object]] = [
        lambda source, out: truncate(source, out, Truncate(layers="1/2"), None, silent),
        lambda source, out: prune_ffn(source, out, PruneFfn(size="1/2"), world.text, silent),
        lambda source, out: prune_hidden(source, out, PruneHidden(size="1/2", select="pca"), world.text, silent),
    ]
    source = world.teacher
    for number, cut in enumerate(cuts):
        out = made(folder / f"cut{number}")
        cut(source, out)
        source = out
    return source


def train(world: World, student: Path, objective: dict[str, float], seed: int, steps: int) -> tuple[Path, Scores]:
    """The student after so many steps, and the training's own numbers."""
    out, work = Path(tempfile.mkdtemp()), Path(tempfile.gettempdir()) / f"recovery-{world.name}"
    for checkpoint in work.glob("*.safetensors"):  # of the training before; the tokenised text is used again
        checkpoint.unlink()
    run = TrainingRun(world.text, world.name, work, held_out=world.held_out, seed=seed)
    if objective == {"mlm": 1.0}:
        return out, distil(student, None, out, Adapt(steps=steps, **SETTINGS), run)
    return out, distil(student, world.teacher, out, Distil(steps=steps, objective=objective, **SETTINGS), run)


def judge(world: World, model: Path) -> Scores:
    """The score of each benchmark, in percent, and their mean."""
    if not world.benchmarks:
        return {NATS: masked_loss(world, model)}
    record = evaluate(model, world.benchmarks, EvaluationSettings(threads=torch.get_num_threads(), **JUDGED))
    scores = {name: 100 * one["mean"] for name, one in record["benchmarks"].items()}
    return {NATS: masked_loss(world, model)} | scores | {"mean": mean(scores.values())}


def masked_loss(world: World, model: Path) -> float:
    """Nats per masked piece of held-out text, the same masks for every model."""
    student = load_model(model)
    tokenizer = load_tokenizer(model)
    with tempfile.TemporaryDirectory() as folder:
        text = tokenize(world.held_out, tokenizer, SETTINGS["max_length"], Path(folder) / "text.arrow", silent)
        lots = lots_of(text, masking_of(tokenizer), tokenizer.pad_token_id, 32)
    lesson = Lesson(student, None, {"mlm": 1.0}, {}, vocabulary_terms({"mlm": Mlm()}))
    total = 0.0
    for lot in lots:
        for batch in lot.share(0, 1, 4096):
            total += lesson.run(batch, lot.counts, None)["mlm"] * lot.counts.masked
    return total / sum(lot.counts.masked for lot in lots)


def table(world: World, student: Path, seeds: Sequence[int], steps: int) -> str:
    """Markdown, one row per way to train."""
    names = [NATS] + ([b.name for b in world.benchmarks] + ["mean"] if world.benchmarks else [])
    lines = [f"| {steps} steps | " + " | ".join(names) + " | s per training |", "|---" * (len(names) + 2) + "|"]
    teacher = judge(world, world.teacher)
    print(teacher, flush=True)
    lines.append("| teacher | " + " | ".join(f"{teacher[name]:.2f}" for name in names) + " | |")
    for arm, objective in ARMS.items():
        started = time.monotonic()
        models = [student] if objective is None else [train(world, student, objective, s, steps)[0] for s in seeds]
        seconds = "" if objective is None else f"{(time.monotonic() - started) / len(seeds):.0f}"
        found = [judge(world, model) for model in models]
        cells = []
        for name in names:
            values = [scores[name] for scores in found]
            cells.append(f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else ""))
        lines.append(f"| {arm} | " + " | ".join(cells) + f" | {seconds} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def made(folder: Path) -> Path:
    """The folder, there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    """Train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--tasks", type=Path, help="the folder that holds tasks/")
    parser.add_argument("--language", default="swahili")
    parser.add_argument("--benchmarks", nargs="*", default=list(pocket.BENCHMARKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    world = real_world(asked) if asked.teacher else pocket_world(asked.language, asked.benchmarks)
    with tempfile.TemporaryDirectory() as folder:
        found = table(world, halve(world, Path(folder)), asked.seeds, asked.steps)
    print(found)
    if asked.write:
        replace_block(asked.write, f"recovery: {world.name}", found)


if __name__ == "__main__":
    main()
