"""Tokens per second and peak memory of one distillation step: the obvious loop beside ours, in one process tree.

The work: XLM-R base (12 x 768) teaches a 6 x 384 student, random weights, 8 sequences of 128 pieces, MLM + KL on the logits.
The obvious loop makes the logits of all positions of both models over all 250,002 columns in fp32. Ours is the engine itself.

    python benchmarks/distil.py [--threads 2] [--steps 8]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ndogo.compressors.distillation.job import TrainingJob
    from ndogo.compressors.distillation.objective import Objective
    from ndogo.compressors.distillation.settings import TrainingSettings

ROOT = Path(__file__).parents[1]
ROWS, LENGTH = 8, 128
FULL, TRIMMED = 250_002, 40_005
MLM_SHARE = 0.15


def configs(vocab: int) -> tuple:
    """Student and teacher shapes."""
    from transformers import XLMRobertaConfig

    common = {"vocab_size": vocab, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
    common |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    teacher = XLMRobertaConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, **common)
    student = XLMRobertaConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, **common)
    return student, teacher


def data(vocab: int, step: int, mask_id: int = 4) -> tuple:
    """Random pieces and labels of one batch, all positions real."""
    from ndogo.core.masking import Masking, mask

    ids = np.random.default_rng([vocab, step]).integers(5, vocab, (ROWS, LENGTH))
    real = np.ones_like(ids, dtype=bool)
    return ids, real, mask(ids, real, Masking(mask_id, (0, 1, 2, 3, 4), vocab, MLM_SHARE), (0, 1, step))


CLOCK = {"wall": time.perf_counter, "cpu": time.process_time}
clock = "wall"


def timed(step, steps: int) -> list[float]:  # noqa: ANN001  a callable of the step's number
    """Seconds of each step after one to warm up."""
    now = CLOCK[clock]
    step(0)
    seconds = []
    for number in range(1, steps + 1):
        started = now()
        step(number)
        seconds.append(now() - started)
    return seconds


def naive(vocab: int, steps: int) -> dict:
    """The loop that everybody writes first."""
    import torch
    from torch.nn import functional
    from transformers import XLMRobertaForMaskedLM

    student_config, teacher_config = configs(vocab)
    student, teacher = XLMRobertaForMaskedLM(student_config).train(), XLMRobertaForMaskedLM(teacher_config).eval()
    optimiser = torch.optim.AdamW(student.parameters(), lr=5e-5)

    def step(number: int) -> None:
        _, real, (inputs, labels) = data(vocab, number)
        given = {"input_ids": torch.from_numpy(inputs), "attention_mask": torch.from_numpy(real).long()}
        out = student(**given, labels=torch.from_numpy(labels))
        with torch.no_grad():
            taught = teacher(**given).logits
        soft = functional.kl_div(out.logits.log_softmax(-1), taught.softmax(-1), reduction="none").sum(-1).mean()
        (0.5 * out.loss + 0.5 * soft).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return {"seconds": timed(step, steps)}


def ours(vocab: int, steps: int) -> dict:
    """The engine's own step, its models and its batches, without reading text."""
    import torch

    from ndogo.compressors.distillation import ahead
    from ndogo.compressors.distillation.batches import GlobalBatch
    from ndogo.compressors.distillation.devices import ProcessGroup
    from ndogo.compressors.distillation.trainer import Trainer

    trainer = Trainer(_job(vocab), ProcessGroup(0, 1, torch.device("cpu")), lambda *_: None)

    def batch(number: int) -> GlobalBatch:
        _, real, (inputs, labels) = data(vocab, number)
        return GlobalBatch(np.arange(ROWS), inputs, real, labels)

    trainer.batch_of = ahead.Ahead(batch, trainer.job.steps, ahead.STEPS[trainer.group.device.type])
    return {"seconds": timed(lambda _number: trainer.learn(), steps)}


def _job(vocab: int) -> "TrainingJob":
    from ndogo.compressors.distillation.objectives.logits_kl import LogitsKL
    from ndogo.compressors.distillation.objectives.mlm import Mlm
    from ndogo.compressors.distillation.settings import TrainingSettings

    settings = TrainingSettings(steps=1000, batch_size=ROWS)
    return random_job(configs(vocab), settings, {"mlm": Mlm(weight=0.5), "logits_kl": LogitsKL(weight=0.5)})


def random_job(shapes: tuple, settings: "TrainingSettings", objectives: "dict[str, Objective]") -> "TrainingJob":
    """A training of random models of two shapes, student and teacher, with the smallest tokenizer that has their pieces."""
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaForMaskedLM

    from ndogo.compressors.distillation.run import TrainingRun
    from ndogo.compressors.distillation.train import prepare
    from ndogo.core.models import save

    folder = Path(tempfile.mkdtemp())
    pieces = {piece: row for row, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])}
    pieces |= {f"p{row}": row for row in range(5, shapes[0].vocab_size)}
    backend = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{k}_token": v for k, v in names.items()})
    for name, config in zip(("student", "teacher"), shapes, strict=True):
        save(XLMRobertaForMaskedLM(config), folder / name)
        tokenizer.save_pretrained(folder / name)
    run = TrainingRun(lines=lambda: iter(["p5 p6 p7"]), fingerprint="0" * 64, work=folder / "work")
    return prepare(folder / "student", folder / "teacher", folder, settings, objectives, run)


def products(vocab: int) -> dict:
    """Seconds that the step's matrix products alone take, in ours' shapes and precision: the floor."""
    import torch

    from ndogo.compressors.distillation.devices import autocast_type

    dtype = autocast_type("auto", torch.device("cpu")) or torch.float32
    rows = ROWS * LENGTH
    masked = round(MLM_SHARE * rows)
    shapes = []  # (times, m, k, n)
    for hidden, layers, passes in (
        (768, 12, 1),
        (384, 6, 3),
    ):  # a student's product is done thrice: forward, two gradients
        for k, n, count in ((hidden, hidden, 4), (hidden, 4 * hidden, 1), (4 * hidden, hidden, 1)):
            shapes.append((layers * count, rows, k, n))
            if passes == 3:
                shapes += [(layers * count, rows, n, k), (layers * count, n, rows, k)]
        shapes += [(1, masked, hidden, hidden), (1, masked, hidden, vocab)]
        if passes == 3:
            shapes += [(1, masked, vocab, hidden), (1, vocab, masked, hidden)]
    total = 0.0
    for times, m, k, n in shapes:
        a, b = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
        total += times * min(timed(lambda _n, a=a, b=b: torch.nn.functional.linear(a, b), 5))
    return {"seconds": [total], "flops": sum(2 * times * m * k * n for times, m, k, n in shapes)}


def child(what: str, vocab: int, steps: int, threads: int) -> dict:
    """Measure in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--child", what, "--vocab", str(vocab)]
    done = subprocess.run(
        [*command, "--steps", str(steps), "--threads", str(threads), "--clock", clock],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--clock", choices=list(CLOCK), default="wall", help="cpu: with one thread, on a busy machine")
    parser.add_argument("--child", choices=["naive", "ours", "products"], help=argparse.SUPPRESS)
    parser.add_argument("--vocab", type=int, default=FULL, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    globals()["clock"] = asked.clock
    if asked.child:
        import torch

        torch.set_num_threads(asked.threads)
        measured = (
            {"naive": naive, "ours": ours}[asked.child](asked.vocab, asked.steps)
            if asked.child != "products"
            else (products(asked.vocab))
        )
        measured["gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(measured))
        return
    rows = [("naive", FULL), ("ours", FULL), ("ours", TRIMMED)]
    found = {row: child(*row, steps=1 if row[0] == "naive" else asked.steps, threads=asked.threads) for row in rows}
    slow = found["naive", FULL]
    print("| loop | columns | tokens/s | times naive | peak GB | share of naive | share of plain products |")
    print("|---|---|---|---|---|---|---|")
    for (what, vocab), one in found.items():
        seconds, base = (float(np.median(x["seconds"])) for x in (one, slow))
        share = "" if what == "naive" else f"{child('products', vocab, 5, asked.threads)['seconds'][0] / seconds:.0%}"
        print(
            f"| {what} | {vocab:,} | {ROWS * LENGTH / seconds:,.0f} | {base / seconds:.1f} | {one['gb']:.2f} "
            f"| {one['gb'] / slow['gb']:.2f} | {share} |"
        )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
