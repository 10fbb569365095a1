"""FFN pruning equals masking; scores are kept and taken over."""

import pytest
import torch

from ndogo.compressors.calibration import to_batches
from ndogo.compressors.width.ffn import narrow_ffn, sort_heads
from ndogo.compressors.width.importance import score
from ndogo.compressors.width.saved import FILE, load_scores, save_scores
from ndogo.core.architectures import architecture_of, layers_of, shape_of
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model, load_tokenizer, parameters
from ndogo.core.progress import silent
from ndogo.steps.kinds.prune_ffn import PruneFfn
from ndogo.steps.step import Planning
from tests.compressors.cases import KINDS, answer, lines, made, model_of
from tests.pico import TEXT


def masked_answer(model, keep):
    """The model's answer with the outputs of all other neurons set to 0."""
    hooks = []
    for layer, module in enumerate(layers_of(model)):
        mask = torch.zeros(shape_of(model.config).ffn)
        mask[keep[layer]] = 1
        out = module.get_submodule(architecture_of(model.config).ffn_out)
        hooks.append(out.register_forward_pre_hook(lambda _m, inputs, mask=mask: (inputs[0] * mask,)))
    expected = answer(model)
    for hook in hooks:
        hook.remove()
    return expected


@pytest.mark.parametrize("kind", KINDS)
def test_pruned_is_masked(any_pico, kind):
    model = model_of(any_pico, kind)
    scores = score(model, "magnitude", [], silent)
    student = narrow_ffn(model, 24, scores)
    keep = [scores[f"ffn.{layer}"].topk(24).indices for layer in range(len(layers_of(model)))]
    expected = masked_answer(model, keep)
    assert torch.allclose(answer(student), expected, atol=1e-5)
    assert not torch.allclose(expected, answer(model), atol=1e-2)


def test_full_width_is_the_teacher(any_pico):
    model = model_of(any_pico, "lm")
    scores = score(model, "activation", to_batches(TEXT, load_tokenizer(any_pico), masked=False), silent)
    assert torch.equal(answer(narrow_ffn(model, 64, scores)), answer(model))


def test_sorted_heads_compute_the_same_and_stand_in_order(any_pico):
    model = model_of(any_pico, "lm")
    expected, scores = answer(model), score(model, "magnitude", [], silent)
    sort_heads(model, scores)
    assert torch.allclose(answer(model), expected, rtol=0, atol=6e-6)
    after = score(model, "magnitude", [], silent)
    for layer in range(len(layers_of(model))):
        assert torch.allclose(after[f"head.{layer}"], scores[f"head.{layer}"].sort(descending=True).values)


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "activation", "self"])
def test_prune_ffn_writes_a_whole_directory(any_pico, tmp_path, importance):
    numbers = made(PruneFfn(size="1/2", importance=importance, sentences=9), any_pico, tmp_path, lines, silent)
    student = load_model(tmp_path)
    assert shape_of(student.config).ffn == numbers["ffn"] == 32 and numbers["ffn_before"] == 64
    assert parameters(student) == numbers["params"] < numbers["params_before"]
    assert load_tokenizer(tmp_path).mask_token_id == load_tokenizer(any_pico).mask_token_id
    assert (tmp_path / FILE).is_file()


def test_scores_serve_another_size(pico_model, tmp_path):
    source, spec = pico_model("xlmr"), {"importance": "taylor", "sentences": 9}
    folders = [tmp_path / name for name in ("first", "again", "anew")]
    for folder in folders:
        folder.mkdir()
    made(PruneFfn(size=40, **spec), source, folders[0], lines, silent)
    told = []
    made(PruneFfn(size=16, **spec), source, folders[1], lines, lambda doing, *_: told.append(doing), folders[0])
    made(PruneFfn(size=16, **spec), source, folders[2], lines, silent)
    assert torch.equal(answer(load_model(folders[1])), answer(load_model(folders[2])))
    assert not any("scoring" in doing for doing in told)
    with pytest.raises(NdogoError, match="another text"):
        made(PruneFfn(size=16, **spec), source, folders[1], lambda: iter(["Habari."]), silent, folders[0])
    with pytest.raises(NdogoError, match="another kind"):
        made(PruneFfn(size=16, importance="self", sentences=9), source, folders[1], lines, silent, folders[0])
    with pytest.raises(NdogoError, match="another weights"):
        made(PruneFfn(size=16, **spec), folders[0], folders[1], lines, silent, folders[0])
    with pytest.raises(NdogoError, match="cannot be read"):
        made(PruneFfn(size=16, **spec), source, folders[1], lines, silent, tmp_path)


def test_the_same_scores_are_the_same_bytes_whatever_the_order_of_their_metadata(tmp_path):
    scores, depends = {"ffn.0": torch.arange(5.0)}, {"weights": "a", "kind": "self", "text": "é"}
    files = [tmp_path / str(number) / FILE for number in range(8)]
    for file in files:
        file.parent.mkdir()
        save_scores(scores, file.parent, depends)
    assert len({file.read_bytes() for file in files}) == 1
    assert torch.equal(load_scores(files[0].parent, depends)["ffn.0"], scores["ffn.0"])


def test_neurons_go_from_a_model_whose_heads_share_keys(pico_model):
    config = load_config(pico_model("eurobert"))
    config.num_key_value_heads = 2
    model = type(load_model(pico_model("eurobert")))(config).eval()
    batches = to_batches(TEXT, load_tokenizer(pico_model("eurobert")), masked=True)
    for importance in ("magnitude", "taylor"):
        student = narrow_ffn(model, 24, score(model, importance, batches, silent))
        assert shape_of(student.config).ffn == 24 and answer(student).isfinite().all()
    with pytest.raises(NdogoError, match="4 heads share 2 keys"):
        PruneFfn(size=24, sort_heads=True).plan(config, Planning(""))


def test_refusals_name_the_value(pico_model, tmp_path):
    with pytest.raises(NdogoError, match="65 was asked"):
        made(PruneFfn(size=65), pico_model("bert"), tmp_path, lines, silent)
    with pytest.raises(NdogoError, match="measured on text"):
        made(PruneFfn(size=8), pico_model("bert"), tmp_path, None, silent)
    with pytest.raises(NdogoError, match="empty"):
        made(PruneFfn(size=8), pico_model("bert"), tmp_path, lambda: iter([]), silent)
