"""Fresh students: the stated shape, the seed's weights, the teacher's tokenizer."""

import pytest
import torch

from ndogo.compressors.fresh import random_model
from ndogo.core.architectures import shape_of, with_shape
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model, load_tokenizer, parameters
from ndogo.steps.kinds.fresh import Fresh
from ndogo.steps.step import Context


def test_a_fresh_student_has_the_stated_shape(any_pico, tmp_path):
    step = Fresh(layers="1/2", hidden=16, ffn=24, heads=2)
    numbers = step.make({"student": any_pico}, tmp_path, Context(seed=3))
    student, teacher = load_model(tmp_path), load_model(any_pico)
    shape = shape_of(student.config)
    assert (shape.hidden, shape.ffn, shape.heads) == (16, 24, 2) and shape.layers == shape_of(
        teacher.config
    ).layers // 2
    assert type(student) is type(teacher) and parameters(student) == numbers["params"]
    assert numbers["params_before"] == parameters(teacher)
    assert load_tokenizer(tmp_path).get_vocab() == load_tokenizer(any_pico).get_vocab()


def test_the_seed_makes_the_weights_and_nothing_else_is_touched(any_pico):
    config = load_config(any_pico)
    state = torch.random.get_rng_state()
    first, again, other = random_model(config, 1), random_model(config, 1), random_model(config, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    words = [model.get_input_embeddings().weight for model in (first, again, other)]
    assert torch.equal(words[0], words[1]) and not torch.equal(words[0], words[2])


def test_more_layers_than_a_list_describes_are_refused(pico_model):
    config = with_shape(load_config(pico_model("modernbert")), layers=4)
    config.num_hidden_layers = 5
    with pytest.raises(NdogoError, match="describes 4 layers"):
        random_model(config, 0)
