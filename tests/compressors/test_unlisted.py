"""mDeBERTa-v3, which the architecture table does not list: rows and layers go as from any encoder, the rest is refused first."""

import pytest
import torch

from ndogo.compressors.calibration import read_batches
from ndogo.compressors.depth import changes, keep_layers, losses_without
from ndogo.core.architectures import layers_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer, parameters
from ndogo.core.progress import silent
from ndogo.registry.integrity import check_model
from ndogo.registry.teachers import teacher
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.kinds.truncate import Truncate
from ndogo.steps.plan import plan
from ndogo.steps.recipe import parse_recipe
from tests.compressors.cases import KINDS, answer, fingerprint, lines, made, model_of, unchanged

HEADS = ("deberta", "deberta_shared")


@pytest.mark.parametrize("family", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_dropped_is_a_layer_skipped(pico_model, family, kind):
    model = model_of(pico_model(family), kind, layers=4)
    before = fingerprint(model)
    student = keep_layers(model, [0, 1, 3])
    hook = layers_of(model)[2].register_forward_hook(lambda _m, inputs, _out: (inputs[0], None))
    expected = answer(model)
    hook.remove()
    assert torch.allclose(answer(student), expected, atol=1e-6)
    assert not torch.allclose(expected, answer(model), atol=1e-4)
    assert unchanged(model, before)


def test_layers_are_judged_by_their_change_but_not_by_a_loss(pico_model):
    source = pico_model("deberta")
    model = model_of(source, "lm", layers=3)
    batches = read_batches(lines, load_tokenizer(source), 8, masked=False)
    hook = layers_of(model)[1].register_forward_hook(lambda _m, inputs, _out: (inputs[0], None))
    scores = changes(model, batches, silent)
    hook.remove()
    assert scores.argmin() == 1 and abs(float(scores[1])) < 1e-5
    with pytest.raises(NdogoError, match="not known well enough to compute its masked-LM loss"):
        losses_without(model, batches, silent)


@pytest.mark.parametrize("family", HEADS)
def test_trim_and_truncate_make_what_is_planned_and_passes_the_check(pico_model, tmp_path, family):
    recipe = parse_recipe("name: x\nsteps:\n  - trim: {size: 117}\n  - truncate: {layers: 1/2, keep: importance}")
    guide = teacher(str(pico_model(family)))
    planned = plan(recipe, guide.config, guide.specials)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    numbers = made(Trim(size=117), pico_model(family), first, lines, silent)
    made(Truncate(layers="1/2", keep="importance"), first, second, lines, silent)
    assert numbers["rows_equal"] and numbers["compared_lines"] and numbers["relative_difference"] < 1e-5
    assert [parameters(load_model(folder)) for folder in (first, second)] == [row.params for row in planned[1:]]
    assert [check_model(folder).params for folder in (first, second)] == [row.params for row in planned[1:]]
    assert (second / "spm.model").is_file() and len(load_tokenizer(second)) == load_model(second).config.vocab_size


@pytest.mark.parametrize(
    "step",
    [
        "prune_ffn: {size: 1/2}",
        "prune_hidden: {size: 1/2}",
        "fresh: {layers: 1, hidden: 16, ffn: 24, heads: 2}",
        "adapt: {epochs: 1}",
        "distil: {objective: {logits_kl: 1}, epochs: 1}",
    ],
)
def test_everything_else_is_refused_in_the_plan(pico_model, step):
    guide = teacher(str(pico_model("deberta")))
    with pytest.raises(NdogoError, match="`deberta-v2` is not known well enough to"):
        plan(parse_recipe(f"name: x\nsteps:\n  - {step}"), guide.config, guide.specials, scaled=True)
