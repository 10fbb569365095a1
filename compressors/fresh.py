"""A random model of a stated shape, of the input's class and with its tokenizer: the student that inherits nothing."""

from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ndogo.core.architectures import architecture_of, shape_of
from ndogo.core.directories import check_model_directory
from ndogo.core.errors import NdogoError
from ndogo.core.models import (
    copy_tokenizer,
    empty_model,
    has_pooler,
    load_config,
    model_class,
    parameters,
    save,
    without_pooler,
)
from ndogo.core.progress import Report


def fresh(source: Path, out: Path, config: PreTrainedConfig, seed: int, report: Report) -> dict[str, float]:
    """Write a random model of `config` into `out`, with the tokenizer of `source`. The same seed gives the same weights.

    :returns: parameters before and after.
    :raises NdogoError: not a model directory, or an impossible shape.
    """
    report("making a random model", 0, None)
    check_model_directory(source)
    teacher = load_config(source)
    pooler = has_pooler(source)
    student = random_model(config, seed, pooler=pooler)
    save(student, out)
    copy_tokenizer(source, out)
    before = parameters(empty_model(teacher, pooler=pooler))
    return {"params_before": before, "params": parameters(student)}


def random_model(config: PreTrainedConfig, seed: int, *, pooler: bool = True) -> PreTrainedModel:
    """A model of `config` as its class initialises it. torch's own random state is left as it was.

    :raises NdogoError: a configuration list states fewer layers than the model shall have.
    """
    entry, layers = architecture_of(config), shape_of(config).layers
    for name in entry.per_layer:
        if len(getattr(config, name)) != layers:
            raise NdogoError(
                f"`{name}` describes {len(getattr(config, name))} layers, {layers} are asked for.",
                where="fresh.layers",
                cure=f"Ask for at most {len(getattr(config, name))}.",
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = model_class(config)
        model: PreTrainedModel = kind(config, **({} if pooler else without_pooler(kind))).eval()
    return model
