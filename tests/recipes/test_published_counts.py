"""Every recipe on the teacher of its paper: the published parameter counts, to the unit where the paper gives the unit.

`encoder` is the bare encoder with its pooler, `model` the masked-LM with its tied decoder. Counts without a source in the
table are arithmetic on the published shape.
"""

import pytest

from ndogo.registry.recipes import FOLDER, recipe
from ndogo.registry.teachers import teacher
from ndogo.steps.plan import Planned, plan

XLMR, LARGE, MBERT = "xlm-roberta-base", "afro-xlmr-large", "bert-base-multilingual-cased"
TWO_STEP = [278_295_186, 278_295_186, 235_767_954, 235_767_954, 226_324_626]
TWO_STEP_MBERT = [177_974_523, 177_974_523, 135_447_291, 135_447_291, 126_003_963]


def planned(name: str, guide: str) -> list[Planned]:
    found = teacher(guide)
    return plan(recipe(name), found.config, found.specials)


@pytest.mark.parametrize(
    ("name", "guide", "before", "narrow", "last", "percent"),
    [
        ("two-step-564", XLMR, TWO_STEP, 163_400_000, 44_752_113, 83.9),
        ("two-step-456", XLMR, TWO_STEP, 130_930_000, 34_961_373, 87.4),
        ("two-step", XLMR, TWO_STEP, 88_540_000, 22_814_253, 91.8),
        ("two-step-mbert-564", MBERT, TWO_STEP_MBERT, 89_690_000, 44_751_549, 74.9),
        ("two-step-mbert-456", MBERT, TWO_STEP_MBERT, 71_310_000, 34_960_917, 80.4),
        ("two-step-mbert", MBERT, TWO_STEP_MBERT, 47_710_000, 22_813_941, 87.2),
    ],
)
def test_both_columns_of_the_two_step_paper(
    name: str, guide: str, before: list[int], narrow: int, last: int, percent: float
):  # fmt: skip
    rows = planned(name, guide)
    assert [row.kind for row in rows[1:]] == [
        "adapt", "truncate", "distil", "prune_ffn", "prune_hidden", "distil", "trim",
    ]  # fmt: skip
    assert [row.params for row in rows[:5]] == before
    assert rows[5].params == rows[6].params == pytest.approx(narrow, abs=5_000)  # published in hundredths of a million
    assert rows[-1].params == last
    assert round(100 * (1 - last / before[0]), 1) == percent
    assert rows[-1].shape.vocab == 40_005


def test_comet():
    rows = planned("comet", LARGE)
    assert (rows[0].params_encoder, rows[-1].params_encoder, rows[-1].params) == (559_890_432, 68_937_216, 69_187_730)
    shape = rows[-1].shape
    assert (shape.layers, shape.hidden, shape.ffn, shape.heads, shape.vocab) == (6, 256, 1024, 8, 250_002)


def test_comet_with_a_trimmed_vocabulary():
    last = planned("comet-trimmed", LARGE)[-1]
    assert last.params_encoder == 68_937_216 - (250_002 - 32_773) * 256 == 13_326_592
    assert last.shape.vocab == 32_773


@pytest.mark.parametrize(
    ("name", "millions", "exact", "shape"),
    [
        ("tagalog-base", 135.3, 135_326_208, (6, 768, 3072, 12)),
        ("tagalog-tiny", 42.1, 42_126_048, (4, 312, 1200, 12)),
    ],
)
def test_tagalog(name: str, millions: float, exact: int, shape: tuple[int, ...]):
    rows = planned(name, MBERT)
    last = rows[-1]
    assert round(rows[0].params_encoder / 1e6, 1) == 177.9
    assert round(last.params_encoder / 1e6, 1) == millions
    assert last.params_encoder == exact
    assert (last.shape.layers, last.shape.hidden, last.shape.ffn, last.shape.heads) == shape
    assert last.shape.vocab == 119_547


def test_the_student_that_seven_objectives_share():
    last = planned("mha", XLMR)[-1]
    assert last.params_encoder == 106_993_920  # granite-embedding-107m-multilingual
    assert (last.shape.layers, last.shape.hidden, last.shape.ffn, last.shape.heads) == (6, 384, 1536, 12)


def test_bistil_halves_the_depth_and_nothing_else():
    first, last = (planned("bistil", MBERT)[place].shape for place in (0, -1))
    assert (last.layers, last.hidden, last.ffn, last.heads) == (6, first.hidden, first.ffn, first.heads)


def test_trim_only_touches_nothing_but_the_vocabulary():
    rows = planned("trim-only", XLMR)
    assert rows[-1].params == 278_295_186 - (250_002 - 32_773) * (
        768 + 1
    )  # a row of the embedding, an entry of the bias


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ndogo-base", (6, 768, 3072, 12)),
        ("ndogo-small", (6, 384, 1536, 12)),
        ("ndogo-tiny", (6, 192, 768, 12)),
    ],
)
def test_our_three_sizes(name: str, shape: tuple[int, ...]):
    last = planned(name, XLMR)[-1].shape
    assert (last.layers, last.hidden, last.ffn, last.heads) == shape


@pytest.mark.parametrize("name", sorted(f.stem for f in FOLDER.glob("*.yaml") if "-task-" not in f.stem))
def test_every_recipe_fits_a_real_teacher(name: str):
    rows = planned(name, XLMR)
    assert rows[-1].params < rows[0].params
    assert [row.id for row in rows[1:]] == [step.id for step in recipe(name).order()]
