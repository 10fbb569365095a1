"""A masked-LM head for an encoder that has none: drawn at random and tied to the word embeddings, to be fitted to both."""

import copy
import shutil
from pathlib import Path

import torch
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedConfig

from ndogo.core.architectures import check_listed, has_lm_head
from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_config, load_model, model_class, save

SEED = 0


def lm_config(config: PreTrainedConfig, where: str) -> PreTrainedConfig:
    """The configuration with its family's masked-LM class; the input is left untouched.

    :raises NdogoError: the family has none here.
    """
    check_listed(config, "give it a masked-LM head")
    kind = MODEL_FOR_MASKED_LM_MAPPING.get(type(config), None)
    if not isinstance(kind, type):
        raise NdogoError(f"`{config.model_type}` has no masked-LM head in transformers.", where=where)
    made = copy.deepcopy(config)
    made.architectures = [kind.__name__]
    made.tie_word_embeddings = True
    return made


def with_lm_head(source: Path, out: Path) -> Path:
    """A model directory with the encoder of `source` and a random masked-LM head, the same every time; `source` itself where it
    has one. A pooler is left behind: no head of this kind reads it.
    """
    encoder = load_model(source)
    if has_lm_head(encoder):
        return source
    config = lm_config(load_config(source), str(source))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        made = model_class(config)(config)
    weights = {
        name: tensor for name, tensor in encoder.base_model.state_dict().items() if not name.startswith("pooler.")
    }
    made.base_model.load_state_dict(weights)
    made.tie_weights()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    save(made.eval(), out)
    copy_tokenizer(source, out)
    return out
