"""The engine on one GPU, in at most four minutes: tokens a second, share of the card's peak, what is no matrix product, memory.

Random weights and random tokens; the loop is the engine's own, its batches without reading text. For XLM-R base -> 6 x 384 also
with the fastest kernels in place of the deterministic ones, and with compiled layers. Then losses beside the CPU's, and small
steps of fine-tuning. Without a GPU it runs on the CPU at small shapes, to see that it runs: those figures say nothing of a card.

    python benchmarks/gpu.py [--seconds 8] [--small] [--compiled]
"""

import argparse
import itertools
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "run"), str(Path(__file__).parent)]

import torch  # noqa: E402  # behind the paths
from distil import random_job  # noqa: E402  # likewise

if TYPE_CHECKING:
    from ndogo.compressors.distillation.trainer import Trainer

VOCAB = 40_005
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "linear", "attention")
"""Parts of the names of matrix products, which attention is made of too."""
CURVE = 20


@dataclass(frozen=True)
class Pair:
    """Two shapes, layers x hidden, and what is learnt."""

    name: str
    teacher: tuple[int, int]
    student: tuple[int, int]
    logits: bool


PAIRS = (
    Pair("XLM-R base -> 6 x 384", (12, 768), (6, 384), True),
    Pair("XLM-R large -> 6 x 256", (24, 1024), (6, 256), True),
    Pair("e5-small -> 6 x 256", (12, 384), (6, 256), False),
)


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    divisor: int
    """Of hidden sizes."""
    vocab: int
    rows: int
    length: int
    product: int
    """Rows and columns of the product that gives the peak."""


FULL, SMALL = Scale(1, VOCAB, 512, 128, 8192), Scale(16, 500, 4, 16, 256)


def config(shape: tuple[int, int], scale: Scale) -> object:
    """XLM-R's configuration of a shape."""
    from transformers import XLMRobertaConfig

    layers, hidden = shape[0], shape[1] // scale.divisor
    return XLMRobertaConfig(
        vocab_size=scale.vocab,
        num_hidden_layers=layers if scale is FULL else 2,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_attention_heads=max(1, hidden // 64),
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def trainer_of(pair: Pair, scale: Scale, device: torch.device, *, deterministic: bool = True) -> "Trainer":
    """The engine's trainer on random batches, made by the thread ahead as real ones are."""
    from ndogo.compressors.distillation import ahead
    from ndogo.compressors.distillation.batches import GlobalBatch
    from ndogo.compressors.distillation.devices import ProcessGroup
    from ndogo.compressors.distillation.objectives.hidden import Hidden
    from ndogo.compressors.distillation.objectives.logits_kl import LogitsKL
    from ndogo.compressors.distillation.objectives.mlm import Mlm
    from ndogo.compressors.distillation.settings import TrainingSettings
    from ndogo.compressors.distillation.trainer import Trainer
    from ndogo.core.masking import Masking, mask

    settings = TrainingSettings(
        steps=10**6, batch_size=scale.rows, mask_probability=0.15 if pair.logits else 0, deterministic=deterministic
    )
    objectives = {"mlm": Mlm(weight=0.5), "logits_kl": LogitsKL(weight=0.5)} if pair.logits else {"hidden": Hidden()}
    shapes = config(pair.student, scale), config(pair.teacher, scale)
    trainer = Trainer(random_job(shapes, settings, objectives), ProcessGroup(0, 1, device), lambda *_: None)
    rule = Masking(4, (0, 1, 2, 3, 4), scale.vocab, settings.mask_probability)

    def batch(step: int) -> GlobalBatch:
        ids = np.random.default_rng(step).integers(5, scale.vocab, (scale.rows, scale.length))
        real = np.ones_like(ids, dtype=bool)
        inputs, labels = mask(ids, real, rule, (0, 1, step))
        return GlobalBatch(np.arange(scale.rows), inputs, real, labels)

    trainer.batch_of = ahead.Ahead(batch, trainer.job.steps, ahead.STEPS[trainer.group.device.type])
    return trainer


def flops(pair: Pair, scale: Scale) -> float:
    """Of a step's matrix products, attention's own left out: the teacher once, the student thrice."""
    tokens = scale.rows * scale.length
    total = 0.0
    for shape, passes in ((pair.teacher, 1), (pair.student, 3)):
        made = config(shape, scale)
        hidden = made.hidden_size
        total += 2 * passes * tokens * made.num_hidden_layers * 12 * hidden**2
        total += 2 * passes * 0.15 * tokens * (hidden**2 + hidden * scale.vocab) if pair.logits else 0
    return total


def peak(scale: Scale, device: torch.device) -> float:
    """Floating-point operations a second of one large product, in the precision of trainings."""
    from ndogo.compressors.distillation.devices import autocast_type

    left = torch.randn(
        scale.product, scale.product, device=device, dtype=autocast_type("auto", device) or torch.float32
    )
    return 2 * scale.product**3 / seconds_of(lambda: left @ left, 1.0, device)


def seconds_of(once: object, seconds: float, device: torch.device) -> float:
    """Seconds of each call, over at least three behind two that are not counted."""
    for _ in range(2):
        once()
    wait(device)
    started = time.perf_counter()
    for done in itertools.count(1):
        once()
        if (
            done >= 3 and time.perf_counter() - started > seconds
        ):  # a queue of calls may be longer: what counts is its end
            wait(device)
            return (time.perf_counter() - started) / done
        if done % 10 == 0:
            wait(device)
    raise AssertionError


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def outside_products(trainer: "Trainer", device: torch.device) -> float:
    """The share of a step's time on the device in which no matrix product runs; of a GPU its waiting included."""
    from torch.profiler import ProfilerActivity, profile

    steps = 2
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    wait(device)
    with profile(activities=kinds) as seen:
        started = time.perf_counter()
        for _ in range(steps):
            trainer.learn()
        wait(device)
        whole = 1e6 * (time.perf_counter() - started)
    name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    products = sum(getattr(e, name) for e in seen.key_averages() if e.key.startswith("aten::") and is_product(e.key))
    return max(0.0, 1 - products / whole)


def is_product(name: str) -> bool:
    """Whether an operation of torch's is a matrix product."""
    return any(part in name.removeprefix("aten::") for part in PRODUCTS)


@contextmanager
def measured(device: torch.device) -> Iterator[list[float]]:
    """Gigabytes at the most while it was open: of the card, else of this process so far."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    found: list[float] = []
    yield found
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found.append((torch.cuda.max_memory_allocated() if device.type == "cuda" else resident) / 1e9)


def row(pair: Pair, scale: Scale, device: torch.device, how: tuple[bool, bool, float, float]) -> str:
    """A line of the table. `how`: deterministic, compiled, the peak, seconds to measure."""
    from ndogo.compressors.distillation.devices import exact
    from ndogo.core.architectures import layers_of

    deterministic, compiled, best, seconds = how
    with exact(device, deterministic), measured(device) as memory:
        trainer = trainer_of(pair, scale, device, deterministic=deterministic)
        for layer in layers_of(trainer.losses.student) if compiled else ():
            layer.compile()
        each = seconds_of(trainer.learn, seconds, device)
        outside = outside_products(trainer, device)
        trainer.batch_of.close()
    rate = scale.rows * scale.length / each
    return (
        f"| {pair.name} | {'yes' if deterministic else 'no'} | {'yes' if compiled else 'no'} | {rate:,.0f} "
        f"| {flops(pair, scale) / each / best:.0%} | {outside:.0%} | {memory[0]:.1f} | {trainer.micro:,} |"
    )


def curves(device: torch.device) -> str:
    """The losses of one small training on the device beside those on the CPU."""
    found = []
    for where in (torch.device("cpu"), device):
        torch.manual_seed(0)
        trainer = trainer_of(PAIRS[0], SMALL, where)
        losses = []
        for _ in range(CURVE):
            trainer.learn()
            losses.append(trainer.numbers()["loss"])
        trainer.batch_of.close()
        found.append(np.array(losses))
    off = np.abs(found[1] / found[0] - 1).max()
    return f"Loss of {CURVE} small steps, device beside CPU: {found[0][0]:.3f} to {found[0][-1]:.3f}, at most {off:.2%} apart."


def finetuning(steps: int, device: torch.device) -> str:
    """Small steps of fine-tuning: what the card waits for is the host."""
    from ndogo.compressors.distillation.objectives.mlm import Mlm
    from ndogo.compressors.distillation.settings import TrainingSettings
    from ndogo.evaluation import Benchmark, EvaluationSettings
    from ndogo.evaluation.encoder import load_encoder
    from ndogo.evaluation.finetune import fine_tuned
    from ndogo.evaluation.rows import Sentence

    job = random_job((config((6, 384), SMALL), config((6, 384), SMALL)), TrainingSettings(steps=1), {"mlm": Mlm()})
    encoder = load_encoder(Path(job.student))
    draw = np.random.default_rng(0)
    words = [" ".join(f"p{n}" for n in draw.integers(5, SMALL.vocab, 24)) for _ in range(16 * steps + 16)]
    rows = tuple(Sentence(text, "ab"[number % 2]) for number, text in enumerate(words))
    data = Benchmark("topic", "classes", ("a", "b"), {"train": rows[:-16], "dev": rows[-16:], "test": rows[-16:]})
    settings = EvaluationSettings(mode="finetune", seeds=(0,), learning_rates=(1e-4,), epochs=1)
    started = time.perf_counter()
    fine_tuned(encoder, data, settings, lambda *_: None, str(device))
    wait(device)
    return f"Fine-tuning, {steps} steps of 16 rows of 24 words: {(time.perf_counter() - started) / steps * 1000:.1f} ms a step."


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each line")
    parser.add_argument("--small", action="store_true", help="small shapes; the default without a GPU")
    parser.add_argument(
        "--compiled", action="store_true", help="a line with compiled layers too; the first steps take a minute"
    )
    asked = parser.parse_args()
    from ndogo.core.device import chosen

    device = torch.device(chosen())
    scale = SMALL if asked.small or device.type == "cpu" else FULL
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads, small shapes"
    )
    best = peak(scale, device)
    print(f"{name}: {best / 1e12:.3g} TFLOP/s in one product of {scale.product} x {scale.product}")
    print("| training | deterministic | compiled | tokens/s | of peak | outside products | GB | micro-batch |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for pair in PAIRS:
        print(row(pair, scale, device, (True, False, best, asked.seconds)), flush=True)
    print(row(PAIRS[0], scale, device, (False, False, best, asked.seconds)), flush=True)
    if asked.compiled:
        print(row(PAIRS[0], scale, device, (False, True, best, asked.seconds)), flush=True)
    print(curves(device))
    print(finetuning(200 if scale is FULL else 4, device))


if __name__ == "__main__":
    main()
