"""What judging a model takes: probes of all its benchmarks, and fine-tuning of two, beside one bare pass over the same texts.

    NDOGO_DATA=DIR python benchmarks/judging.py MODEL swahili [--clock cpu]

The bare pass reads every row's text once, by length, as a probe reads it. On a machine that other work fills, `--clock cpu`
with one thread counts processor seconds.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.teacher_cache import CLOCK
from ndogo.evaluation import Benchmark, EvaluationSettings, evaluate
from ndogo.evaluation.encoder import Encoder, batches, encode, load_encoder, padded
from ndogo.evaluation.finetune import TOKENS_PER_BATCH
from ndogo.registry.benchmarks import benchmarks

FINETUNED = ("topic", "sentiment")


@torch.inference_mode()
def passed(encoder: Encoder, rows: list[Benchmark], settings: EvaluationSettings) -> int:
    """Read every row once and make nothing of it; how many tokens they were."""
    tokens = 0
    for row in rows:
        for split in row.splits.values():
            ids = encode(encoder, row, split, settings.max_length).ids
            lengths = [len(one) for one in ids]
            for chosen in batches(lengths, max(1, TOKENS_PER_BATCH // max(lengths)), "sorted"):
                encoder.model(**padded([ids[number] for number in chosen], encoder.tokenizer.pad_token_id, "cpu"))
            tokens += sum(lengths)
    return tokens


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("language")
    parser.add_argument("--profile", default="local", choices=("local", "pocket"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCK), default="wall")
    asked = parser.parse_args()
    clock = CLOCK[asked.clock]
    rows = [row for row in benchmarks(asked.language, asked.profile) if isinstance(row, Benchmark)]
    encoder = load_encoder(asked.model)
    probe = EvaluationSettings(threads=asked.threads)
    tune = EvaluationSettings(mode="finetune", threads=asked.threads, benchmarks=FINETUNED)
    torch.set_num_threads(asked.threads)
    print("| | seconds |\n|---|---:|")
    started = clock()
    tokens = passed(encoder, rows, probe)
    print(f"| one bare pass over {tokens:,} tokens | {clock() - started:.0f} |", flush=True)
    started = clock()
    evaluate(encoder, rows, probe)
    print(f"| probes of {', '.join(row.name for row in rows)} | {clock() - started:.0f} |", flush=True)
    for row in rows:
        if tune.asks(row.name):
            started = clock()
            found = evaluate(encoder, [row], tune).benchmarks[row.name]
            print(f"| {row.name}, fine-tuned: {100 * found.mean:.1f} | {clock() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
