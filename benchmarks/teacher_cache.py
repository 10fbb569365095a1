"""A training whose teacher reads every batch anew beside one whose teacher speaks once: seconds of N epochs, in one process.

Random weights and random text: time depends on neither. Each number type is trained twice, the second time as another arm of a
sweep would, which finds what the first one kept. The bound is what the teacher's measured share of a step allows.

    python benchmarks/teacher_cache.py [--teacher 12x384 --student 6x192] [--epochs 10] [--rows 4096] [--clock cpu]
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLOCK = {"wall": time.perf_counter, "cpu": time.process_time}
WORDS = 8000


def models(folder: Path, shapes: dict[str, str]) -> None:
    """Model directories of the shapes, with one word-level tokenizer."""
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    from ndogo.core.models import save

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(f"w{n}" for n in range(WORDS))]
    backend = Tokenizer(kinds.WordLevel({token: row for row, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **{f"{k}_token": v for k, v in names.items()})
    for name, shape in shapes.items():
        layers, hidden = map(int, shape.split("x"))
        config = XLMRobertaConfig(
            vocab_size=len(tokens),
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(1, hidden // 32),
            max_position_embeddings=514,
            type_vocab_size=1,
            pad_token_id=1,
        )
        save(XLMRobertaModel(config), folder / name)
        tokenizer.save_pretrained(folder / name)


def text(rows: int) -> list[str]:
    """Lines of 8 to 56 words, as sentences of a news text have them."""
    drawing = random.Random(0)
    return [" ".join(f"w{drawing.randrange(WORDS)}" for _ in range(drawing.randint(8, 56))) for _ in range(rows)]


def trained(folder: Path, lines: list[str], how: str, epochs: float, arm: int) -> float:
    """Seconds of one training from its tokenised text to the student's folder."""
    from ndogo.compressors.distillation.objectives.direct import Direct
    from ndogo.compressors.distillation.objectives.hidden import Hidden
    from ndogo.compressors.distillation.run import TrainingRun
    from ndogo.compressors.distillation.settings import TrainingSettings
    from ndogo.compressors.distillation.train import train

    settings = TrainingSettings(epochs=epochs, mask_probability=0, teacher_outputs=how)
    run = TrainingRun(
        lines=lambda: iter(lines),
        fingerprint="0" * 64,
        work=folder / "work" / f"{how}-{arm}",
        seed=arm,
        teacher_cache=folder / "store",
    )
    out = folder / f"out-{how}-{arm}"
    out.mkdir()
    started = CLOCK[clock]()
    train(folder / "student", folder / "teacher", out, settings, {"hidden": Hidden(), "direct": Direct()}, run)
    return CLOCK[clock]() - started


clock = "wall"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="12x128", help="layers x hidden")
    parser.add_argument("--student", default="4x64")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=list(CLOCK), default="wall", help="cpu: with one thread, on a busy machine")
    asked = parser.parse_args()
    globals()["clock"] = asked.clock
    import torch

    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models(folder, {"teacher": asked.teacher, "student": asked.student})
        lines = text(asked.rows)
        trained(folder, lines[:64], "live", 1, 9)  # pays for kernels and imports
        live = trained(folder, lines, "live", asked.epochs, 0)
        found = {
            (how, arm): trained(folder, lines, how, asked.epochs, arm) for how in ("fp16", "int8") for arm in (0, 1)
        }
        live = (live + trained(folder, lines, "live", asked.epochs, 1)) / 2  # before and after: speed drifts
    share = 1 - found["fp16", 1] / live
    bound = asked.epochs / (share + (1 - share) * asked.epochs)
    print(
        f"{asked.teacher} teaches {asked.student}, {asked.rows:,} rows, {asked.epochs:g} epochs, {asked.clock} seconds"
    )
    print(
        f"The teacher is {share:.0%} of a step: the bound is {bound:.2f} times, and {1 / (1 - share):.2f} where it is found."
    )
    print("| teacher_outputs | training | seconds | times faster than live |\n|---|---|---|---|")
    print(f"| live | any | {live:.1f} | 1.00 |")
    for (how, arm), seconds in found.items():
        print(f"| {how} | {'another arm, found' if arm else 'the first'} | {seconds:.1f} | {live / seconds:.2f} |")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
