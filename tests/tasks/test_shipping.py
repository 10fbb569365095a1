"""A run's report says what its exported file costs beside the teacher and the trimmed teacher."""

from pathlib import Path

from ndogo.core.progress import silent
from ndogo.registry.languages import Language, add_language
from ndogo.steps.recipe import parse_recipe
from ndogo.tasks.run import Run
from ndogo.tasks.shipping import sentence, shipping, table
from ndogo.tasks.steps import find_or_make
from tests import tiny

RECIPE = """
name: shipped
steps:
  - trim: {size: 120}
  - truncate: {layers: 1}
  - export: {dtype: int8, lines: 8, agreement: 0}
"""


def made(recipe: str, teacher: Path, folder: Path) -> Run:
    text, _ = tiny.write(folder)
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher)))
    run = tiny.run_of(parse_recipe(recipe), teacher)
    for name in run.requests():
        find_or_make(run, name, silent)
    return run


def test_the_file_stands_beside_the_trimmed_teacher_in_int8(pico_model, tmp_path: Path):
    run = made(RECIPE, pico_model("xlmr"), tmp_path)
    found = shipping(run)
    assert found is not None and found.trimmed_mb is not None
    assert 0 < found.file_mb < found.trimmed_mb, "one layer of two, in the same type"
    assert found.file == "student, int8"
    assert min(found.file_ms, found.teacher_ms, found.trimmed_ms or 0, found.over_trimmed or 0) > 0
    assert shipping(run) == found, "measured once"
    assert [line.split("|")[1].strip() for line in table(found).splitlines()[2:]] == [
        "teacher, PyTorch",
        "trimmed teacher, int8",
        "student, int8",
    ]
    assert f"{found.trimmed_mb:.2f} MB" in sentence(found)
    assert found.numbers()["export_file_mb"] == found.file_mb


def test_a_recipe_without_an_export_has_nothing_to_ship(pico_model, tmp_path: Path):
    assert shipping(made("name: cut\nsteps:\n  - truncate: {layers: 1}", pico_model("xlmr"), tmp_path)) is None
