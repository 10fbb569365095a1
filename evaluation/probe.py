"""Probing: the encoder is frozen, its last layer's states are computed once, and a linear head is fitted on them.

One layer only: two side by side would give a wide teacher twice as many more numbers than its narrow student. Of a text it is
the vector that the model itself makes of the states: its pooling, and its dense layer where it has one; else the mean. A convex
head has no spread of its own, so each seed trains on another sample of the train rows; all of them are scored on all test rows.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch

from ndogo.core.progress import Report
from ndogo.evaluation.encoder import Encoded, Encoder, batches, encode, padded
from ndogo.evaluation.finetune import TOKENS_PER_BATCH, Judged, dev_score
from ndogo.evaluation.rows import SPLITS, Benchmark
from ndogo.evaluation.scores import NOTHING, Prediction
from ndogo.evaluation.settings import PROBED_SHARE, EvaluationSettings

ITERATIONS = 200


def probe(
    encoder: Encoder, benchmark: Benchmark, settings: EvaluationSettings, report: Report, device: str = "cpu"
) -> Judged:
    """Fit one logistic regression per seed on the frozen states; dev chooses its regularisation with the first seed.

    The encoder is left untouched (and on `device`).
    """
    data = {split: encode(encoder, benchmark, benchmark.splits[split], settings.max_length) for split in SPLITS}
    drawn = {seed: _drawn(seed, data["train"], benchmark, settings.train_units) for seed in settings.seeds}
    needed = np.unique(np.concatenate(list(drawn.values())))
    states = _all_states(encoder, benchmark, data, needed, report, device)
    fits = len(settings.strengths) + len(settings.seeds) - 1

    def fit(strength: float, seed: int, number: int) -> "_Head":
        report(f"probing {benchmark.name}: linear heads", number, fits)
        made = _Head(benchmark, states["train"], data["train"], drawn[seed], strength)
        report(f"probing {benchmark.name}: linear heads", number + 1, fits)
        return made

    first, *others = settings.seeds
    tried = [fit(strength, first, number) for number, strength in enumerate(settings.strengths)]
    dev = [dev_score(benchmark, head.predict(states["dev"], data["dev"])) for head in tried]
    best = int(np.argmax(dev))
    heads = [tried[best], *(fit(settings.strengths[best], seed, len(tried) + i) for i, seed in enumerate(others))]
    return Judged(
        chosen={"strength": settings.strengths[best]},
        dev=[dev_score(benchmark, head.predict(states["dev"], data["dev"])) for head in heads],
        predictions=[head.predict(states["test"], data["test"]) for head in heads],
    )


def _drawn(seed: int, train: Encoded, benchmark: Benchmark, most: int) -> np.ndarray:
    """The seed's train rows, with at most so many texts or words."""
    generator, rows = np.random.default_rng(seed), len(train.ids)
    drawn = generator.permutation(rows)[: max(1, round(PROBED_SHARE * rows))]
    units = [1 if benchmark.kind == "classes" else len(train.firsts[i]) for i in drawn]
    return drawn[: max(1, int(np.searchsorted(np.cumsum(units), most, "right")))]


def _all_states(
    encoder: Encoder, benchmark: Benchmark, data: dict[str, Encoded], train: np.ndarray, report: Report, device: str
) -> dict[str, list[np.ndarray | None]]:
    """Per split and row the states (units, hidden); train rows that no seed draws have none."""
    torch.nn.Module.to(encoder.model, device)
    rows = {split: train if split == "train" else np.arange(len(data[split].ids)) for split in SPLITS}
    tokens = {split: sum(len(data[split].ids[i]) for i in rows[split]) for split in SPLITS}
    done, total = 0, sum(tokens.values())
    found: dict[str, list[np.ndarray | None]] = {}
    for split in SPLITS:
        encoded = data[split]
        states: list[np.ndarray | None] = [None] * len(encoded.ids)
        lengths = [len(encoded.ids[i]) for i in rows[split]]
        for batch in batches(lengths, max(1, TOKENS_PER_BATCH // max(lengths)), "sorted"):
            chosen = rows[split][batch]
            for i, state in zip(chosen, _states(encoder, benchmark, encoded, chosen, device), strict=True):
                states[i] = state
            done += sum(lengths[i] for i in batch)
            report(f"probing {benchmark.name}: states", done, total)
        found[split] = states
    return found


@torch.inference_mode()
def _states(
    encoder: Encoder, benchmark: Benchmark, encoded: Encoded, chosen: np.ndarray, device: str
) -> list[np.ndarray]:
    """Of the last layer: a text's vector as the model makes it, or the first token of each word that has one."""
    inputs = padded([encoded.ids[i] for i in chosen], encoder.tokenizer.pad_token_id, device)
    last_BLH = encoder.model(**inputs).last_hidden_state.float().cpu()
    if benchmark.kind == "classes":
        real_BL = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool().cpu()
        return list(encoder.text_vectors(last_BLH, real_BL)[:, None].numpy())
    return [state[_seen(encoded.firsts[i])].numpy() for state, i in zip(last_BLH, chosen, strict=True)]


def _seen(firsts: Sequence[int]) -> list[int]:
    return [first for first in firsts if first >= 0]


class _Head:
    """A logistic regression on standardised states."""

    def __init__(
        self, benchmark: Benchmark, states: list[np.ndarray | None], train: Encoded, rows: np.ndarray, strength: float
    ) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        self.benchmark = benchmark
        inputs = np.concatenate([_present(states[i]) for i in rows])
        labels = np.concatenate([_labels(benchmark, train, i) for i in rows])
        self.only = int(labels[0]) if len(np.unique(labels)) == 1 else None
        if self.only is not None:
            return
        self.mean = inputs.mean(0)
        self.scale = np.maximum(inputs.std(0), 1e-6)
        self.regression = LogisticRegression(C=strength, max_iter=ITERATIONS, tol=1e-3)
        # One thread: two that wait for each other on a busy machine took 20 times as long. An early end is as good a head.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.regression.fit((inputs - self.mean) / self.scale, labels)

    def predict(self, states: list[np.ndarray | None], data: Encoded) -> list[Prediction]:
        """The head's labels for every row, in the rows' order."""
        inputs = np.concatenate([_present(state) for state in states])
        if self.only is not None:
            numbers = np.full(len(inputs), self.only)
        else:
            numbers = self.regression.predict((inputs - self.mean) / self.scale)
        names = iter([self.benchmark.labels[n] for n in numbers])
        if self.benchmark.kind == "classes":
            return list(names)
        return [[next(names) if first >= 0 else NOTHING for first in firsts] for firsts in data.firsts]


def _present(state: np.ndarray | None) -> np.ndarray:
    assert state is not None
    return state


def _labels(benchmark: Benchmark, data: Encoded, row: int) -> list[int]:
    if benchmark.kind == "classes":
        return data.labels[row]
    return [label for label, first in zip(data.labels[row], data.firsts[row], strict=True) if first >= 0]
