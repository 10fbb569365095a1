"""What a model costs: parameters by part, bytes, memory, latency; teacher and student in alternating runs."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from ndogo.core.directories import TOKENIZER_FILES, check_model_directory
from ndogo.core.download import tokenizer_bytes
from ndogo.core.errors import NdogoError
from ndogo.core.models import (
    empty_model,
    has_pooler,
    load_config,
    parameters,
)
from ndogo.core.progress import Report, silent
from ndogo.core.sentences import sentence_files
from ndogo.evaluation.encoder import Encoder, load_encoder, position_limit
from ndogo.evaluation.judge import fixed
from ndogo.evaluation.records import ByteCounts, Cost, Costs, Latency, Memory, PartParameters, Speed
from ndogo.evaluation.settings import CostSettings

WARM = 2
"""Runs before the clock counts."""
LEAST = 5
"""Runs of each model that are timed even where the time for a cell is used up."""
ONE_ROW = CostSettings(repeats=50, seconds=10.0)
PERCENTILES = {"p50_ms": 50, "p95_ms": 95}


def cost(
    student_dir: Path, teacher_dir: Path | None = None, settings: CostSettings | None = None, report: Report = silent
) -> Costs:
    """Measure one model, or two in turn: parameters, bytes (by arithmetic; disk as it lies), memory and speed.

    Memory is that of a fresh process that runs the encoder on one row of 128 tokens; speed is the bare encoder's.

    :raises NdogoError: not a model directory.
    """
    settings = settings or CostSettings()
    paths = {"student": student_dir} | ({"teacher": teacher_dir} if teacher_dir else {})
    found: dict[str, Cost] = {}
    encoders: dict[str, Encoder] = {}
    for role, path in paths.items():
        check_model_directory(path)
        model = _unloaded(path)
        report("memory", len(found), len(paths))
        encoders[role] = load_encoder(path)
        length = min(128, position_limit(encoders[role].model, encoders[role].tokenizer))
        found[role] = Cost(
            parameters=parameters_by_part(model),
            bytes=ByteCounts(
                **{dtype: weights + tokenizer_bytes(path) for dtype, weights in bytes_of(model).items()},
                disk=disk(path),
            ),
            memory=peak_memory(path, 1, length),
        )
    with fixed(settings.threads):
        for role, speed in _speeds(encoders, settings, report).items():
            found[role] = found[role].model_copy(update={"speed": speed})
    return Costs(student=found["student"], teacher=found.get("teacher"), settings=settings)


def latency(student_dir: Path, teacher_dir: Path) -> Latency:
    """Median milliseconds of one row of 128 tokens (or as many as fit) through each bare encoder, in turn, on one thread.

    `speedup` is the median of the teacher's time over the student's turn by turn, which a busy machine moves least.
    """
    times = one_row({"student": load_encoder(student_dir), "teacher": load_encoder(teacher_dir)})
    ours, theirs = (1000 * float(np.median(times[role])) for role in ("student", "teacher"))
    speedup = float(np.median(times["teacher"] / times["student"]))
    return Latency(latency_ms=ours, latency_teacher_ms=theirs, speedup=speedup)


def one_row(encoders: Mapping[str, Encoder]) -> dict[str, np.ndarray]:
    """Seconds of one row of 128 tokens (or as many as fit) through each encoder, turn by turn, on one thread: (turns,)."""
    length = min(128, *(position_limit(encoder.model, encoder.tokenizer) for encoder in encoders.values()))
    with fixed(1):
        return {role: np.array(times) for role, times in _times(encoders, 1, length, ONE_ROW).items()}


def _unloaded(path: Path) -> PreTrainedModel:
    """The model that the configuration names, without memory for its weights; the bare encoder where it names none."""
    config = load_config(path)
    if config.architectures:
        return empty_model(config, pooler=has_pooler(path))
    with torch.device("meta"):
        model: PreTrainedModel = AutoModel.from_config(config)
    return model


def parameters_by_part(model: PreTrainedModel) -> PartParameters:
    """Distinct parameters of the embeddings, the layers, and all the rest (pooler, head); and the total.

    The parts are the encoder's children that hold the word embedding and the list of layers, so that any architecture can be
    counted.
    """
    body = model.base_model
    words = model.get_input_embeddings()
    children = dict(body.named_children())
    embeddings = next(name for name, child in children.items() if any(m is words for m in child.modules()))
    layers = next(
        name for name, child in children.items() if any(isinstance(m, nn.ModuleList) for m in child.modules())
    )
    total = parameters(model)
    words_in, inner = parameters(children[embeddings]), parameters(children[layers])
    return PartParameters(embeddings=words_in, layers=inner, head=total - words_in - inner, total=total)


def bytes_of(model: PreTrainedModel) -> dict[str, int]:
    """Bytes of the weights: fp32, fp16, and int8 (one byte per weight of a matrix, one fp32 scale per row, the rest fp32)."""
    shapes = [p.shape for p in {id(p): p for p in model.parameters()}.values()]
    every = sum(math.prod(shape) for shape in shapes)
    int8 = sum(math.prod(s) + 4 * s[0] if len(s) > 1 else 4 * math.prod(s) for s in shapes)
    return {"fp32": 4 * every, "fp16": 2 * every, "int8": int8}


def disk(path: Path) -> int:
    """Bytes of the files that one must ship: weights, configuration, tokenizer, how vectors are made."""
    names = [
        "config.json",
        *TOKENIZER_FILES,
        *(f.name for f in path.glob("*.safetensors")),
        *sentence_files(path),
    ]
    return sum((path / name).stat().st_size for name in names if (path / name).is_file())


def peak_memory(path: Path, batch: int, length: int) -> Memory:
    """Resident bytes of a fresh process, the peak after loading and one run.

    :raises NdogoError: the process failed.
    """
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "ndogo.evaluation.footprint", str(path), str(batch), str(length)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NdogoError(f"Measuring memory failed: {ended.stderr.strip()[-500:]}", where=str(path))
    return Memory.model_validate_json(ended.stdout)


def _speeds(encoders: Mapping[str, Encoder], settings: CostSettings, report: Report) -> dict[str, dict[str, Speed]]:
    limit = min(position_limit(encoder.model, encoder.tokenizer) for encoder in encoders.values())
    cells = [(batch, length) for batch in settings.batches for length in settings.lengths if length <= limit]
    found: dict[str, dict[str, Speed]] = {role: {} for role in encoders}
    for number, (batch, length) in enumerate(cells):
        for role, times in _times(encoders, batch, length, settings).items():
            milliseconds = {name: float(np.percentile(times, p)) * 1000 for name, p in PERCENTILES.items()}
            rate = batch / float(np.median(times))
            found[role][f"{batch}x{length}"] = Speed(**milliseconds, rows_per_second=rate, runs=len(times))
        report("speed", number + 1, len(cells))
    return found


@torch.inference_mode()
def _times(encoders: Mapping[str, Encoder], batch: int, length: int, settings: CostSettings) -> dict[str, list[float]]:
    """Seconds per run; the models take turns, so that a busy machine is busy for both."""
    generator = torch.Generator().manual_seed(0)
    inputs = {
        role: torch.randint(encoder.model.config.vocab_size, (batch, length), generator=generator)
        for role, encoder in encoders.items()
    }
    times: dict[str, list[float]] = {role: [] for role in encoders}
    started = time.perf_counter()
    for run in range(-WARM, settings.repeats):
        if run >= LEAST and time.perf_counter() - started > settings.seconds:
            break
        for role, encoder in encoders.items():
            begun = time.perf_counter()
            encoder.model(input_ids=inputs[role])
            if run >= 0:
                times[role].append(time.perf_counter() - begun)
    return times
