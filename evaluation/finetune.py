"""Fine-tuning under a fresh head, of all weights or of adapters: rate and end are chosen on dev, by one rule for all models."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ndogo.core.progress import Report
from ndogo.evaluation.adapters import add_adapters
from ndogo.evaluation.encoder import Encoded, Encoder, batches, encode, padded, used_rows, with_head
from ndogo.evaluation.rows import SPLITS, Benchmark
from ndogo.evaluation.scores import METRICS, NOTHING, Prediction, score
from ndogo.evaluation.settings import EvaluationSettings

WARMUP = 0.1
WEIGHT_DECAY = 0.01
CLIP = 1.0
LOWER = 1.6
"""A training that diverged is tried again at its rate divided by this."""
RETRIES = 3
TOKENS_PER_BATCH = 8192
"""Padded tokens of one judging batch: a bound on memory."""


@dataclass(frozen=True)
class Judged:
    """What one mode found: the choice made on dev, per seed the predictions for all test rows, and what was odd."""

    chosen: dict[str, float]
    dev: list[float]
    predictions: list[list[Prediction]]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Work:
    encoder: Encoder
    benchmark: Benchmark
    data: dict[str, Encoded]
    rows: np.ndarray
    """Of the vocabulary: those that occur."""
    settings: EvaluationSettings
    report: Report
    device: str

    @property
    def trials(self) -> int:
        return len(self.settings.learning_rates) + len(self.settings.seeds) - 1


def finetune(
    encoder: Encoder, benchmark: Benchmark, settings: EvaluationSettings, report: Report, device: str = "cpu"
) -> Judged:
    """Fine-tune once per learning rate with the first seed, then with the best rate once per other seed.

    A training of those that diverges is tried again at a lower rate. The encoder is left untouched. Digits repeat for equal
    seeds, threads and versions; torch's generator is reseeded.
    """
    work = _prepared(_Work(encoder, benchmark, {}, np.arange(0), settings, report, device), SPLITS)
    best, rate = _best(work)
    dev, predictions = [best.dev], [_predict(work, best.model, "test")]
    remarks = at_the_edge(rate, settings.learning_rates)
    for number, seed in enumerate(settings.seeds[1:], len(settings.learning_rates)):
        retries = 0 if best.diverged else RETRIES  # what the first seed could not learn either is no divergence
        trial, told = _train_or_lower(work, rate, seed, number, retries)
        dev.append(trial.dev)
        predictions.append(_predict(work, trial.model, "test"))
        remarks += told
    return Judged({"learning_rate": rate}, dev, predictions, tuple(remarks))


def fine_tuned(
    encoder: Encoder, benchmark: Benchmark, settings: EvaluationSettings, report: Report, device: str = "cpu"
) -> tuple[PreTrainedModel, dict[str, float]]:
    """A new model: the encoder fine-tuned once per learning rate with the first seed, at the rate that dev chooses.

    No test row is read. The encoder is left untouched; torch's generator is reseeded.

    :returns: the model with its whole vocabulary, and the rate and dev score that it was chosen by.
    """
    work = _prepared(_Work(encoder, benchmark, {}, np.arange(0), settings, report, device), ("train", "dev"))
    best, rate = _best(work)
    model = with_head(encoder, benchmark, np.arange(encoder.model.config.vocab_size), settings.seeds[0])
    weights = nn.Module.to(best.model, "cpu").state_dict()
    words = model.get_input_embeddings()
    (name,) = (f"{n}.weight" for n, module in model.named_modules() if module is words)
    table = model.state_dict()[name].clone()
    table[torch.from_numpy(work.rows)] = weights[name]
    model.load_state_dict(weights | {name: table})
    return model.eval(), {"learning_rate": rate, f"dev_{METRICS[benchmark.kind][0]}": best.dev}


def answers(
    encoder: Encoder, benchmark: Benchmark, settings: EvaluationSettings, report: Report, device: str = "cpu"
) -> dict[str, list[Prediction]]:
    """What a model's own head answers on every split of a benchmark that has the head's labels; nothing is trained."""
    work = _prepared(_Work(encoder, benchmark, {}, np.arange(0), settings, report, device), tuple(benchmark.splits))
    model = nn.Module.to(with_head(encoder, benchmark, work.rows, seed=0), device)
    found = {}
    for number, split in enumerate(benchmark.splits):
        report(f"{benchmark.name}: the model's own answers", number, len(benchmark.splits))
        found[split] = _predict(work, model, split)
    return found


def _prepared(work: _Work, splits: Sequence[str]) -> _Work:
    """The work with the rows of these splits as tokens, numbered anew for the part of the vocabulary that occurs."""
    encoder, benchmark = work.encoder, work.benchmark
    data = {s: encode(encoder, benchmark, benchmark.splits[s], work.settings.max_length) for s in splits}
    rows = used_rows(encoder, (ids for encoded in data.values() for ids in encoded.ids))
    new_id = {int(old): new for new, old in enumerate(rows)}
    for encoded in data.values():
        encoded.ids[:] = [[new_id[i] for i in ids] for ids in encoded.ids]
    return replace(work, data=data, rows=rows)


def _best(work: _Work) -> "tuple[_Trial, float]":
    """The training with the first seed whose rate dev chooses, and that rate; one model is kept at a time."""
    found: tuple[_Trial, float] | None = None
    for number, rate in enumerate(work.settings.learning_rates):
        trial = _train(work, rate, work.settings.seeds[0], number)
        if found is None or trial.dev > found[0].dev:
            found = trial, rate
    assert found is not None
    return found


def at_the_edge(rate: float, tried: Sequence[float]) -> list[str]:
    """A remark where the chosen rate is the lowest or highest of several: a better one may lie beyond."""
    if len(tried) > 1 and rate in (min(tried), max(tried)):
        return [
            f"the chosen learning rate {rate:g} is the {'lowest' if rate == min(tried) else 'highest'} that was tried"
        ]
    return []


@dataclass(frozen=True)
class _Trial:
    """One training: the best dev score, the model that has it, and whether it diverged."""

    dev: float
    model: PreTrainedModel
    diverged: bool


def _train_or_lower(work: _Work, rate: float, seed: int, number: int, retries: int) -> tuple[_Trial, list[str]]:
    """Train at a rate; where that diverges, again at lower ones, and say so."""
    trial, remarks = _train(work, rate, seed, number), []
    for _ in range(retries):
        if not trial.diverged:
            break
        remarks.append(
            f"seed {seed} diverged at the learning rate {rate:g} and was trained again at {rate / LOWER:.3g}"
        )
        rate /= LOWER
        trial = _train(work, rate, seed, number)
    return trial, remarks


def _train(work: _Work, rate: float, seed: int, trial: int) -> _Trial:
    """Train with warm-up, decay and clipping, up to the epoch with the best dev score.

    It diverged where a loss is no number, or is in the last epoch not below that of guessing by the labels' shares.
    """
    settings, train = work.settings, work.data["train"]
    model = with_head(work.encoder, work.benchmark, work.rows, seed)
    if settings.mode == "adapter":
        add_adapters(model, settings.reduction)
    nn.Module.to(model, work.device)
    generator = np.random.default_rng(seed)
    per_epoch = -(-len(train.ids) // settings.batch_size)
    planned = per_epoch * settings.epochs
    optimiser = torch.optim.AdamW(_groups(model), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _slope(step, planned))
    best, waited, weights, mean_loss = -1.0, 0, copy.deepcopy(model.state_dict()), math.inf
    for epoch in range(settings.epochs):
        model.train()
        order = batches([len(ids) for ids in train.ids], settings.batch_size, "shuffled", generator)
        losses = []
        for number, chosen in enumerate(order):
            loss = _loss(work, model, chosen)
            loss.backward()
            losses.append(loss.detach())
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            work.report(
                f"fine-tuning {work.benchmark.name}, seed {seed}, rate {rate:g}",
                trial * planned + epoch * per_epoch + number + 1,
                work.trials * planned,
            )
        mean_loss = float(torch.stack(losses).mean())
        if not math.isfinite(mean_loss):
            break
        found = dev_score(work.benchmark, _predict(work, model, "dev"))
        if found > best:
            best, waited, weights = found, 0, copy.deepcopy(model.state_dict())
        elif (waited := waited + 1) == settings.patience:
            break
    model.load_state_dict(weights)
    diverged = not mean_loss < _guessing(train)
    return _Trial(best, model, diverged)


def _guessing(train: Encoded) -> float:
    """The loss of knowing the labels' shares and nothing else, in nats; infinite where there is one label only."""
    _, counts = np.unique(np.concatenate([np.asarray(labels) for labels in train.labels]), return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) if len(shares) > 1 else math.inf


def dev_score(benchmark: Benchmark, predictions: Sequence[Prediction]) -> float:
    """The compared metric on dev."""
    return score(benchmark, benchmark.splits["dev"], predictions)[METRICS[benchmark.kind][0]]


def _groups(model: PreTrainedModel) -> list[dict[str, object]]:
    words, learnt = model.get_input_embeddings().weight, [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in learnt if p.dim() > 1 and p is not words]
    others = [p for p in learnt if p.dim() <= 1 or p is words]
    return [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def _slope(step: int, planned: int) -> float:
    rise = max(1, round(WARMUP * planned))
    return (step + 1) / rise if step < rise else max(0.0, (planned - step) / max(1, planned - rise))


def _loss(work: _Work, model: PreTrainedModel, chosen: np.ndarray) -> torch.Tensor:
    train = work.data["train"]
    inputs = padded([train.ids[i] for i in chosen], model.config.pad_token_id, work.device)
    logits = _logits(work, model, inputs)
    if work.benchmark.kind == "classes":
        return F.cross_entropy(logits, torch.tensor([train.labels[i][0] for i in chosen], device=work.device))
    labels_BL = torch.full(inputs["input_ids"].shape, -100)
    for row, i in enumerate(chosen):
        for first, label in zip(train.firsts[i], train.labels[i], strict=True):
            if first >= 0:
                labels_BL[row, first] = label
    return F.cross_entropy(logits.flatten(0, 1), labels_BL.flatten().to(work.device), ignore_index=-100)


def _logits(work: _Work, model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.autocast(work.device.split(":")[0], torch.bfloat16, enabled=work.settings.precision == "bf16"):
        logits: torch.Tensor = model(**inputs).logits.float()
    return logits


@torch.inference_mode()
def _predict(work: _Work, model: PreTrainedModel, split: str) -> list[Prediction]:
    """The model's labels for every row of a split, in the rows' order."""
    data, names = work.data[split], work.benchmark.labels
    model.eval()
    found: list[Prediction] = [""] * len(data.ids)
    lengths = [len(ids) for ids in data.ids]
    size = max(1, TOKENS_PER_BATCH // max(lengths))
    for chosen in batches(lengths, size, "sorted"):
        inputs = padded([data.ids[i] for i in chosen], model.config.pad_token_id, work.device)
        best = _logits(work, model, inputs).argmax(-1).tolist()
        for row, i in zip(best, chosen, strict=True):
            if work.benchmark.kind == "classes":
                found[i] = names[row]
            else:
                found[i] = [names[row[first]] if first >= 0 else NOTHING for first in data.firsts[i]]
    return found
