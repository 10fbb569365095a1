"""Importance: each score against its definition, worked out another way."""

import pytest
import torch

from ndogo.compressors.calibration import to_batches
from ndogo.compressors.width.importance import score
from ndogo.core.architectures import architecture_of, layers_of, shape_of
from ndogo.core.axes import widths
from ndogo.core.batches import Batch
from ndogo.core.errors import NdogoError
from ndogo.core.masking import IGNORED
from ndogo.core.models import load_tokenizer
from ndogo.core.progress import silent
from tests.compressors.cases import KINDS, fingerprint, model_of, unchanged
from tests.pico import TEXT

ALL = ("magnitude", "taylor", "activation", "self")


def batches_of(folder, count=9):
    return to_batches(TEXT[:count], load_tokenizer(folder), masked=True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_unit_has_a_score_and_the_model_is_untouched(any_pico, kind):
    model = model_of(any_pico, kind)
    before, batches = fingerprint(model), batches_of(any_pico)
    for importance in ALL:
        scores = score(model, importance, batches, silent)
        heads = {f"head.{layer}": shape_of(model.config).heads for layer in range(len(layers_of(model)))}
        assert {key: len(value) for key, value in scores.items()} == widths(model) | heads
        assert all(value.isfinite().all() and (value >= 0).all() and value.max() > 0 for value in scores.values())
        assert unchanged(model, before) and all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize("importance", ["taylor", "activation", "self"])
def test_scores_are_a_function_of_text_and_seed(pico_model, importance):
    model, batches = model_of(pico_model("xlmr"), "lm"), batches_of(pico_model("xlmr"))
    first, again = score(model, importance, batches, silent), score(model, importance, batches, silent)
    assert all(torch.equal(first[key], again[key]) for key in first)


def alone(batches):
    """The same sequences, one in a batch and without padding."""
    for batch in batches:
        for ids, real, labels in zip(batch.ids, batch.real, batch.labels, strict=True):
            yield Batch(ids[real][None], real[real][None], labels[real][None])


@pytest.mark.parametrize("importance", ["taylor", "activation"])
def test_padding_and_company_change_nothing(any_pico, importance):
    model, batches = model_of(any_pico, "lm"), batches_of(any_pico)
    together, apart = score(model, importance, batches, silent), score(model, importance, list(alone(batches)), silent)
    assert all(torch.allclose(together[key], apart[key], rtol=1e-3, atol=1e-5) for key in together)


def test_activation_is_the_root_of_squared_means(any_pico):
    model, batches = model_of(any_pico, "lm"), list(alone(batches_of(any_pico)))
    scores = score(model, "activation", batches, silent)
    seen = []
    out = layers_of(model)[1].get_submodule(architecture_of(model.config).ffn_out)
    hook = out.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0][0].abs().mean(0)))
    with torch.no_grad():
        for batch in batches:
            model(input_ids=batch.ids)
    hook.remove()
    assert torch.allclose(scores["ffn.1"], torch.stack(seen).square().sum(0).sqrt(), rtol=1e-4)


def test_taylor_is_the_slope_of_the_loss_as_a_neuron_fades(any_pico):
    model = model_of(any_pico, "lm").double()
    batch = next(alone(batches_of(any_pico)))
    measured = score(model, "taylor", [batch], silent)["ffn.1"]
    out = layers_of(model)[1].get_submodule(architecture_of(model.config).ffn_out)

    def loss(neuron, gate):
        def fade(_module, inputs):
            states = inputs[0].clone()
            states[..., neuron] *= gate
            return (states,)

        hook = out.register_forward_pre_hook(fade)
        with torch.no_grad():
            logits = model(input_ids=batch.ids).logits[0]
        hook.remove()
        return torch.nn.functional.cross_entropy(logits, batch.labels[0], ignore_index=IGNORED, reduction="sum")

    for neuron in (0, 17, 63):
        slope = (loss(neuron, 1 + 1e-2) - loss(neuron, 1 - 1e-2)) / 2e-2  # rotary positions are in single precision
        assert float(slope.abs()) == pytest.approx(float(measured[neuron]), rel=1e-2, abs=1e-5)


def test_dead_units_come_last(any_pico):
    model = model_of(any_pico, "lm")
    entry = architecture_of(model.config)
    layer = layers_of(model)[0]
    with torch.no_grad():
        layer.get_submodule(entry.ffn_out).weight[:, 5] = 0
        for into in map(layer.get_submodule, entry.ffn_in):
            into.weight[5::64] = 0
            if into.bias is not None:
                into.bias[5] = -20
    for importance in ALL:
        assert int(score(model, importance, batches_of(any_pico), silent)["ffn.0"].argmin()) == 5, importance


def test_what_cannot_be_measured_is_refused(pico_model):
    model = model_of(pico_model("bert"), "bare")
    with pytest.raises(NdogoError, match="there is none"):
        score(model, "self", [], silent)
