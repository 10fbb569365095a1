"""Counts by four factors are the stock class's own counts, to the unit."""

from dataclasses import asdict, replace

import pytest

from ndogo.compressors.sizes import Counter
from ndogo.core.architectures import shape_of, with_shape
from ndogo.core.models import empty_model, load_config, parameters
from ndogo.registry.teachers import teacher


def counted(config, shape) -> int:
    return parameters(empty_model(with_shape(config, **asdict(shape))))


def test_every_family_is_counted_to_the_unit(any_pico):
    config = load_config(any_pico)
    counter, whole = Counter(config), shape_of(config)
    for shape in (
        whole,
        replace(whole, vocab=150, layers=1),
        replace(whole, hidden=24, ffn=40),
        replace(whole, hidden=16, heads=2, ffn=8),
    ):
        assert counter.params(shape) == counted(config, shape)


@pytest.mark.parametrize("name", ["xlm-roberta-base", "bert-base-multilingual-cased", "mmbert-small"])
def test_real_teachers_are_counted_to_the_unit(name: str):
    config = teacher(name).config
    counter, whole = Counter(config), shape_of(config)
    assert counter.params(whole) == counted(config, whole)
    small = replace(whole, vocab=20_005, layers=3, ffn=1000)
    assert counter.params(small) == counted(config, small)


def test_a_layer_is_what_one_more_costs(pico_model):
    config = load_config(pico_model("bert"))
    counter, whole = Counter(config), shape_of(config)
    more = replace(whole, layers=whole.layers + 1)
    assert counter.params(more) - counter.params(whole) == counter.layer(whole)


def test_the_file_is_its_weights_and_a_head_no_longer_than_said(any_pico):
    config = load_config(any_pico)
    said = Counter(config).file_bytes(shape_of(config))
    lies = (any_pico / "model.safetensors").stat().st_size
    head = lies - 4 * counted(config, shape_of(config))
    assert 0 < head <= said - (lies - head) <= 2 * head
