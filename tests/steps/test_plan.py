"""Plans: published parameter counts to the unit, and every impossible recipe refused before any work."""

from functools import partial
from pathlib import Path

import pytest

from ndogo import api
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, parameters
from ndogo.core.progress import silent
from ndogo.core.text import WeightedLines
from ndogo.registry.bundles import Store
from ndogo.registry.recipes import recipe
from ndogo.registry.rows import rows_of
from ndogo.registry.teachers import teacher, teacher_names
from ndogo.steps.kinds.trim import Trim
from ndogo.steps.plan import Facts, Planned, plan
from ndogo.steps.recipe import parse_recipe
from tests.compressors.cases import model_of
from tests.pico import TEXT

TWO_STEP_XLMR = [278_295_186, 278_295_186, 235_767_954, 235_767_954, 226_324_626, 88_543_314, 88_543_314, 22_814_253]


def rows(text: str, name: str = "xlm-roberta-base") -> list[Planned]:
    guide = teacher(name)
    return plan(parse_recipe("name: x\nsteps:\n" + text), guide.config, guide.specials)


def test_two_step_on_xlmr_base_gives_the_published_counts():
    guide = teacher("xlm-roberta-base")
    planned = plan(recipe("two-step"), guide.config, guide.specials)
    assert [row.params for row in planned] == TWO_STEP_XLMR
    assert planned[-1].shape.vocab == 40_005
    assert 1 - planned[-1].params / planned[0].params == pytest.approx(0.918, abs=5e-4)


@pytest.mark.parametrize(
    ("hidden", "full", "trimmed"),
    [(564, 163_400_000, 44_752_113), (456, 130_930_000, 34_961_373), (312, 88_540_000, 22_814_253)],
)
def test_the_variants_of_hidden_size_on_xlmr(hidden: int, full: int, trimmed: int):
    cut = rows(f"""
  - truncate: {{layers: 6}}
  - prune_ffn: {{size: 2048}}
  - prune_hidden: {{size: {hidden}, select: first}}
  - trim: {{size: 40000}}""")
    assert cut[-2].params == pytest.approx(full, abs=5_000)
    assert cut[-1].params == trimmed


@pytest.mark.parametrize(("hidden", "trimmed"), [(564, 44_751_549), (456, 34_960_917), (312, 22_813_941)])
def test_the_column_of_mbert(hidden: int, trimmed: int):
    cut = rows(
        f"""
  - truncate: {{layers: 6, keep: last}}
  - prune_ffn: {{size: 2048}}
  - prune_hidden: {{size: {hidden}, select: first}}
  - trim: {{size: 40000}}""",
        "bert-base-multilingual-cased",
    )
    assert [row.params for row in cut[:3]] == [177_974_523, 135_447_291, 126_003_963]
    assert cut[-1].params == trimmed


def test_comet_is_counted_as_the_bare_encoder_with_pooler():
    cut = rows("  - fresh: {layers: 6, hidden: 256, ffn: 1024, heads: 8}", "afro-xlmr-large")
    assert cut[0].params_encoder == 559_890_432
    assert cut[1].params_encoder == 68_937_216
    assert cut[1].params == 69_187_730


@pytest.mark.parametrize("name", [name for name in teacher_names() if name != "embeddinggemma"])
def test_every_teacher_can_be_planned(name: str):
    assert rows("  - trim: {size: 20000}\n  - truncate: {layers: 1/2}", name)[-1].shape.vocab == 20_005


def test_a_teacher_that_is_no_encoder_is_refused_in_words():
    with pytest.raises(NdogoError, match="no masked-LM encoder of this type"):
        rows("  - trim: {size: 20000}", "embeddinggemma")


def test_a_plan_is_what_is_made(any_pico: Path):
    guide = teacher(str(any_pico))
    planned = plan(recipe("trim-only"), guide.config, guide.specials)
    assert planned[0].params == parameters(load_model(any_pico))


def test_a_fraction_is_rounded_to_what_is_allowed():
    assert rows("  - prune_hidden: {size: 313/768}")[-1].shape.hidden == 312
    assert rows("  - prune_hidden: {size: 313/768, heads: drop}")[-1].shape.hidden == 320
    assert rows("  - trim: {size: 20000, multiple_of: 64}")[-1].shape.vocab == 20_032


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  - truncate: {layers: 13}", "13 was asked for layers, but the step finds 12"),
        ("  - truncate: {layers: 2, keep: [3, 12]}", "layers 0 to 11"),
        ("  - prune_hidden: {size: 313}", "no multiple of the heads, 12.*Nearest allowed: 312 or 324"),
        (
            "  - prune_hidden: {size: 312, heads: drop}",
            "no multiple of the head dimension.*Nearest allowed: 256 or 320",
        ),
        ("  - prune_ffn: {size: 4000}", "FFN width.*finds 3072"),
        (
            "  - trim: {size: 20000}\n  - distil: {objective: {logits_mse: 1}, epochs: 1}",
            "`original` has the vocabulary of `original` and `trim` that of `trim`",
        ),
    ],
)
def test_impossible_steps_are_refused_with_key_value_and_what_is_allowed(text: str, message: str):
    with pytest.raises(NdogoError, match=r"(?s)" + message):
        rows(text)


def test_rotary_heads_do_not_shrink():
    with pytest.raises(NdogoError, match="rotary"):
        rows("  - prune_hidden: {size: 1/2}", "mmbert-small")
    assert rows("  - prune_hidden: {size: 1/2, heads: drop}", "mmbert-small")[-1].shape.heads == 3


def test_a_trim_by_coverage_is_a_bound_until_its_text_is_counted_and_then_remembered(pico_model, tmp_path, monkeypatch):
    source, recipe_of = (
        pico_model("xlmr"),
        parse_recipe("name: x\nsteps:\n  - trim: {coverage: 0.9}\n  - truncate: {layers: 1}"),
    )
    guide, text = teacher(str(source)), [WeightedLines(partial(iter, TEXT))]
    store = Store(tmp_path / "store")
    bound = plan(recipe_of, guide.config, guide.specials)
    assert [row.at_most for row in bound] == [False, True, True] and bound[1].shape.vocab == guide.config.vocab_size
    counted = plan(
        recipe_of,
        guide.config,
        guide.specials,
        facts=Facts(rows=rows_of(store, source, text, silent)),
    )
    made = api.trim(source, tmp_path / "trimmed", _file(tmp_path), coverage=0.9)
    assert not any(row.at_most for row in counted)
    assert counted[1].params == parameters(load_model(made.path)) and counted[2].shape.vocab == counted[1].shape.vocab
    monkeypatch.setattr(Trim, "rows_kept", lambda *_: pytest.fail("counted again"))
    again = plan(
        recipe_of,
        guide.config,
        guide.specials,
        facts=Facts(rows=rows_of(store, source, text, silent)),
    )
    assert [row.params for row in again] == [row.params for row in counted]
    with pytest.raises(NdogoError, match="needs the teacher's tokenizer"):
        rows_of(store, Path("xlm-roberta-base"), text, silent)


def _file(folder: Path) -> Path:
    (folder / "text.txt").write_text("\n".join(TEXT), encoding="utf-8")
    return folder / "text.txt"


@pytest.mark.parametrize(("kind", "said"), [("lm", "the student is a"), ("token", "")])
def test_the_answers_of_a_task_head_need_one(pico_model, kind, said):
    text = "name: x\nsteps:\n  - truncate: {layers: 1}\n  - distil: {objective: {task_logits: 1}, steps: 1, max_length: 32}\n"
    config = model_of(pico_model("xlmr"), kind).config
    config.architectures = [type(model_of(pico_model("xlmr"), kind)).__name__]
    if said:
        with pytest.raises(NdogoError, match=said) as refused:
            plan(parse_recipe(text), config, 5)
        assert refused.value.where == "x.yaml: distil: student"
    else:
        assert plan(parse_recipe(text), config, 5)[-1].head is False
