"""How fast this machine computes: models of a shape, tokenizers and linear heads, each tried for a moment.

On the CPU one thread is tried, by its own seconds, which other work on the machine hardly lengthens: what is said holds for a
machine that is ours.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from ndogo.core.device import chosen

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig, PreTrainedModel

Way = Literal["learn", "teach", "read"]
"""learn: a student's step, forward and backward. teach: a frozen teacher reads, in the precision of trainings. read: fp32, as
models are judged and calibrated."""
LAYERS, ROWS = 2, 1000
"""Of the models that are tried: others take as much longer as they are deeper, and a look-up costs the same in a large table."""
BATCH, LENGTH = 8, 48
SHARED = 0.9
"""What each of several threads does of what one does alone."""
MOMENT = 0.1
"""Seconds of each trial, its first pass apart."""
HEAD_ROWS, HEAD_ITERATIONS = 1024, 10
_tried: dict[tuple[str, Way], float] = {}


def seconds_per_token(config: "PreTrainedConfig", way: Way, threads: int) -> float:
    """What an encoder of this configuration takes for a token, with so many threads; tried once per process.

    torch's number of threads is given back.
    """
    import torch

    key = config.to_json_string(), way
    if key not in _tried:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            _tried[key] = _try(config, way)
        finally:
            torch.set_num_threads(before)
    alone = threads == 1 or chosen() != "cpu"
    return _tried[key] if alone else _tried[key] / (SHARED * threads)


def _try(config: "PreTrainedConfig", way: Way) -> float:
    import torch
    from torch import nn

    from ndogo.compressors.distillation.devices import autocast_type, fuses_attention
    from ndogo.compressors.fresh import random_model
    from ndogo.core.architectures import positions, shape_of, with_shape

    whole, device = shape_of(config), torch.device(chosen())
    layers = min(LAYERS, whole.layers)
    small = random_model(with_shape(config, vocab=min(ROWS, whole.vocab), layers=layers), 0)
    model = cast("PreTrainedModel", small.base_model)
    precision = None if way == "read" else autocast_type("auto", device)
    if way != "read" and not fuses_attention(precision, device):
        model.set_attn_implementation("eager")
    nn.Module.to(model, device, precision if way == "teach" else None)
    model.train(way == "learn")
    ids_BL = torch.full((BATCH, min(LENGTH, positions(config))), 7, device=device)
    with torch.autocast(device.type, dtype=precision, enabled=way == "learn" and precision is not None):
        now = time.thread_time if device.type == "cpu" else time.perf_counter
        seconds = _middle(lambda: _pass(model, ids_BL, learning=way == "learn"), now)
    return seconds / ids_BL.numel() * whole.layers / layers


def _pass(model: "PreTrainedModel", ids_BL: "torch.Tensor", *, learning: bool) -> None:
    """Once through the model, to the end: a number of the result is looked at."""
    import torch

    with torch.set_grad_enabled(learning):
        states_BLH = model(input_ids=ids_BL).last_hidden_state.float()
        size = states_BLH.square().mean()
        if learning:
            size.backward()
            model.zero_grad()
    size.item()


def _middle(once: Callable[[], None], now: Callable[[], float]) -> float:
    """The median of the seconds of some passes, after one that is not counted."""
    once()
    found: list[float] = []
    while len(found) < 2 or sum(found) < MOMENT:
        started = now()
        once()
        found.append(now() - started)
    return statistics.median(found)


def tokens_and_seconds(folder: Path, texts: Sequence[str]) -> tuple[int, float]:
    """How many tokens a model directory's tokenizer makes of some texts, without ends, and how long it takes."""
    backend = _tokenizer(folder)
    started = time.process_time()
    found = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    return sum(len(encoding.ids) for encoding in found), time.process_time() - started


@lru_cache(maxsize=2)
def _tokenizer(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    from ndogo.core.models import check_tokenizer, load_tokenizer

    check_tokenizer(folder)
    file = folder / "tokenizer.json"
    return Tokenizer.from_file(str(file)) if file.is_file() else load_tokenizer(folder).backend_tokenizer


@lru_cache
def seconds_per_iteration(width: int, classes: int) -> float:
    """What a linear head of these sizes takes for one row in one iteration of its fit, on one thread."""
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    draw = np.random.default_rng(0)
    inputs = draw.standard_normal((HEAD_ROWS, width), np.float32)
    labels = np.arange(HEAD_ROWS) % max(2, classes)
    head = LogisticRegression(max_iter=HEAD_ITERATIONS, tol=0)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        head.fit(inputs[:64], labels[:64])  # pays for imports and memory
        started = time.thread_time()
        head.fit(inputs, labels)
    return (time.thread_time() - started) / HEAD_ROWS / HEAD_ITERATIONS
