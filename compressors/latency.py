"""How long a shape will take on this machine: a line through a few measured ones.

The time of one row is modelled as a + b L + c L H + d L P for L layers of width H with P parameters each: what a call costs, a
layer's own overhead, what grows with the width (norms, attention over the row), and the matrix products. No factor is negative.
Times are those of one thread on a quiet machine.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig

from ndogo.compressors.fresh import random_model
from ndogo.compressors.sizes import Counter
from ndogo.core.architectures import Shape, positions, shape_of, with_shape
from ndogo.core.progress import Report

LENGTH = 128
"""Pieces in the row that is timed, or as many as the model reads."""
RUNS, SECONDS = 15, 6.0
"""Timed runs of each model, and the time after which five must do."""
LEAST = 5
DEEP = 6
"""Layers of the deeper probes; deeper models are longer lines."""
ROWS = 1000
"""Vocabulary of the timed models: a look-up costs the same in a large one."""

Clock = Callable[[Shape], float]
"""Milliseconds of one row, by shape; the vocabulary makes no difference."""


@dataclass(frozen=True)
class Line:
    """The four factors, in milliseconds."""

    factors: tuple[float, ...]
    counter: Counter

    def __call__(self, shape: Shape) -> float:
        """Predicted milliseconds."""
        return float(np.dot(self.factors, terms(shape, self.counter)))


def terms(shape: Shape, counter: Counter) -> tuple[float, float, float, float]:
    """What the four factors multiply."""
    return 1.0, shape.layers, shape.layers * shape.hidden, shape.layers * counter.layer(shape)


def probes(config: PreTrainedConfig) -> list[Shape]:
    """The shapes to measure: shallow and deeper, narrow and wide, lean and full."""
    whole = shape_of(config)
    head = whole.hidden // whole.heads
    quarter, half = max(1, whole.heads // 4), max(1, whole.heads // 2)
    deep, lean = min(DEEP, whole.layers), max(8, whole.ffn // 4)
    asked = [
        (1, quarter, lean), (deep, quarter, lean), (deep, quarter, whole.ffn),
        (1, half, whole.ffn), (deep, half, lean), (deep, half, whole.ffn),
        (1, whole.heads, lean), (deep, whole.heads, lean), (deep, whole.heads, whole.ffn),
    ]  # fmt: skip
    rows = min(whole.vocab, ROWS)
    return [Shape(rows, layers, heads * head, ffn, heads) for layers, heads, ffn in asked]


def fit(shapes: list[Shape], milliseconds: list[float], counter: Counter) -> Line:
    """The line that misses the measured times least, each by its share."""
    from scipy.optimize import nnls

    table = np.array([terms(shape, counter) for shape in shapes]) / np.array(milliseconds)[:, None]
    scale = np.abs(table).max(0)
    factors, _ = nnls(table / scale, np.ones(len(shapes)))
    return Line(tuple(factors / scale), counter)


def calibrate(config: PreTrainedConfig, counter: Counter, report: Report) -> Line:
    """Measure a few random models of the teacher's class on one thread, for seconds, and fit the line.

    torch's number of threads is given back.
    """
    shapes = probes(config)
    sizes = [{"vocab": s.vocab, "layers": s.layers, "hidden": s.hidden, "ffn": s.ffn, "heads": s.heads} for s in shapes]
    models = [random_model(with_shape(config, **found), 0).base_model for found in sizes]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fit(shapes, _medians(models, min(LENGTH, positions(config)), report), counter)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _medians(models: list[nn.Module], length: int, report: Report) -> list[float]:
    """Milliseconds of each model: this thread's own processor time, which others on the machine hardly lengthen."""
    ids_BL = torch.full((1, length), 7)
    found: list[list[float]] = [[] for _ in models]
    started = time.perf_counter()
    for run in range(-1, RUNS):  # the first is not counted
        if run >= LEAST and time.perf_counter() - started > SECONDS:
            break
        for model, times in zip(models, found, strict=True):
            begun = time.thread_time()
            model(input_ids=ids_BL)
            if run >= 0:
                times.append(1000 * (time.thread_time() - begun))
        report("timing shapes", run + 2, RUNS + 1)
    return [statistics.median(times) for times in found]
