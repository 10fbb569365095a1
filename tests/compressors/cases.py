"""Models of every family and kind of head, and the texts to try them on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from ndogo.core.architectures import layers_of
from ndogo.core.progress import Report, silent
from ndogo.core.text import Lines, WeightedLines
from ndogo.steps.step import Context, Step
from tests import pico

KINDS = {
    "lm": AutoModelForMaskedLM,
    "bare": AutoModel,
    "sequence": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
}
FAMILIES = ("xlmr", "roberta", "bert", "distilbert", "modernbert", "eurobert")


def model_of(folder: Path, kind: str, layers: int | None = None) -> PreTrainedModel:
    """A random model of a pico directory's family: every weight drawn, so that no constant hides a mistake."""
    config = AutoConfig.from_pretrained(folder)
    if layers is not None:
        from ndogo.core.architectures import with_shape

        if config.model_type == "modernbert":
            config.layer_types = [("full" if n % 3 == 0 else "sliding") + "_attention" for n in range(layers)]
        config = with_shape(config, layers=layers)
    torch.manual_seed(1)
    model = KINDS[kind].from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_gain = parameter.dim() == 1 and "norm" in name.lower() and name.endswith("weight")
            parameter.normal_(float(is_gain), 0.2)
    return model


def inputs_of(model: PreTrainedModel, rows: int = 3, length: int = 11) -> dict[str, torch.Tensor]:
    """A padded batch of any tokens."""
    drawn = torch.Generator().manual_seed(7)
    ids = torch.randint(5, min(100, model.config.vocab_size), (rows, length), generator=drawn)
    real = torch.ones_like(ids)
    real[0, length // 2 :] = 0
    ids[real == 0] = model.config.pad_token_id
    return {"input_ids": ids, "attention_mask": real}


@torch.no_grad()
def answer(model: PreTrainedModel) -> torch.Tensor:
    """The model's first output at real tokens."""
    inputs = inputs_of(model)
    out = model(**inputs)[0]
    return out[inputs["attention_mask"] == 1] if out.dim() == 3 else out


def fingerprint(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A copy of all weights."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def unchanged(model: PreTrainedModel, before: dict[str, torch.Tensor]) -> bool:
    """Whether the weights are what they were."""
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(now[name], tensor) for name, tensor in before.items())


def lines() -> Iterator[str]:
    """The pico corpus."""
    return iter(pico.TEXT)


def made(
    step: Step, source: Path, out: Path, text: Lines | None, report: Report = silent, scores: Path | None = None
) -> Mapping[str, Any]:
    """Make a step's result of a model directory in `out`; the numbers that it measured."""
    inputs = {"student": source} | ({} if scores is None else {"scores": scores})
    return step.make(inputs, out, Context(texts=() if text is None else (WeightedLines(text),), report=report))


def depth_of(model: PreTrainedModel) -> int:
    return len(layers_of(model))
