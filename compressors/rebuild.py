"""Putting cut weights into a freshly built stock model, strictly, so that nothing old can survive unseen."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from ndogo.core.architectures import architecture_of, has_lm_head, shape_of
from ndogo.core.axes import widths
from ndogo.core.errors import NdogoError
from ndogo.core.models import without_pooler


def rebuild(model: PreTrainedModel, config: PreTrainedConfig, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """A new model of `model`'s class with these weights, in evaluation mode; it shares no memory with `weights`.

    :raises NdogoError: a weight is missing, unexpected or of another shape, or a tied matrix came apart.
    """
    weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
    config = copy.deepcopy(config)
    pooled = any(name.startswith("pooler.") for name in weights)
    more: dict[str, Any] = {} if pooled else without_pooler(type(model))
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        loaded: Any = type(model).from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=model.dtype,
            output_loading_info=True,
            **more,
        )
    except RuntimeError as error:
        raise NdogoError(
            "The cut weights do not fit the new configuration: a shape differs.", where=type(model).__name__
        ) from error
    finally:
        logging.set_verbosity(level)
    made: PreTrainedModel = loaded[0]
    info = loaded[1]
    faults = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if faults:
        raise NdogoError(f"The cut weights do not fit the new configuration: {faults}", where=type(model).__name__)
    check_rebuilt(made)
    made.eval()
    return made


def check_rebuilt(model: PreTrainedModel) -> None:
    """Hold that the configuration equals the shapes of all weights and that tied matrices are one.

    :raises NdogoError: they differ.
    """
    if architecture_of(model.config).listed:
        shape = shape_of(model.config)
        wanted = {"hidden": shape.hidden, "qk": shape.hidden, "v": shape.hidden, "ffn": shape.ffn}
        wrong = {key: size for key, size in widths(model).items() if size != wanted[key.split(".")[0]]}
        if wrong:
            raise NdogoError(f"Widths differ from the configuration: {wrong}", where="config.json")
    if has_lm_head(model) and getattr(model.config, "tie_word_embeddings", False):
        decoder = model.get_submodule(architecture_of(model.config).decoder).weight
        words = model.get_input_embeddings().weight
        assert isinstance(decoder, Tensor) and isinstance(words, Tensor)
        if decoder.data_ptr() != words.data_ptr():
            raise NdogoError("The output matrix is no longer tied to the word embedding.", where=type(model).__name__)
