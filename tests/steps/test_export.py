"""export as a step: it ends no recipe, its file is what is judged, and what loses too much is not the default."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ndogo import api
from ndogo.core.errors import NdogoError
from ndogo.core.exported import FOLDER, MANIFEST, WEB
from ndogo.core.text import WeightedLines
from ndogo.evaluation import Benchmark, EvaluationSettings, evaluate
from ndogo.evaluation.exported import load_exported
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.languages import Language, add_language
from ndogo.steps.kinds.export import Export
from ndogo.steps.recipe import ORIGINAL, parse_recipe
from ndogo.steps.step import Context
from tests import tiny
from tests.pico import TEXT

RECIPE = "name: shipped\nsteps:\n  - truncate: {layers: 1}\n  - export: {dtype: int8}\n"


@pytest.fixture(scope="module")
def made(pico_model, tmp_path_factory) -> Path:
    """The step run alone on a pico model; its fp32 file meets the allowed agreement and its int8 file cannot."""
    out = tmp_path_factory.mktemp("export") / "out"
    step = Export(dtype=("fp32", "int8"), lines=12, agreement=1.0, web=True)
    out.mkdir()
    context = Context(texts=(WeightedLines(lambda: iter(TEXT)),), threads=1)
    step.make({"student": pico_model("xlmr")}, out, context)
    return out


def test_a_file_that_loses_more_than_allowed_is_marked_and_not_the_default(made: Path):
    manifest = json.loads((made / FOLDER / MANIFEST).read_text())
    files = {entry["precision"]: entry for entry in manifest["files"].values()}
    assert files["int8"]["parity"]["agreement"] < 1.0
    assert (files["int8"]["loses"], files["fp32"]["loses"]) == (True, False)
    assert manifest["default"] == "model.onnx"
    assert json.loads((made / WEB / "page.json").read_text())["file"] == "model.onnx"


def test_a_recipe_ends_with_its_last_model():
    recipe = parse_recipe(RECIPE)
    assert recipe.last == "truncate"
    assert parse_recipe("name: only\nsteps:\n  - export:\n").last == ORIGINAL


@pytest.fixture
def rows(pico_model, tmp_path: Path) -> dict[str, Benchmark]:
    """The tiny language's benchmarks, by name."""
    text, folder = tiny.write(tmp_path)
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(pico_model("xlmr")), benchmarks=str(folder)))
    return {benchmark.name: benchmark for benchmark in benchmarks(tiny.NAME, "local")}


def test_what_is_judged_is_the_file(pico_model, rows):
    run = tiny.run_of(parse_recipe(RECIPE), pico_model("xlmr"))
    assert run.evaluated() == [ORIGINAL, "truncate", "export"]
    fine = run.model_copy(update={"settings": EvaluationSettings(mode="finetune")})
    assert fine.evaluated() == [ORIGINAL, "truncate"]


def test_a_file_has_the_scores_of_its_model(pico_model, made: Path, rows):
    rows = [rows["sentiment"], rows["ner"]]
    settings = EvaluationSettings(seeds=(1,), threads=1)
    ours = evaluate(load_exported(made, "model.onnx"), rows, settings)
    theirs = evaluate(pico_model("xlmr"), rows, settings)
    for name, found in theirs.benchmarks.items():
        assert abs(ours.benchmarks[name].mean - found.mean) < 0.05, name  # padded there, alone here
    assert evaluate(load_exported(made, "model_quantized.onnx"), rows, settings).benchmarks.keys() == {
        "sentiment",
        "ner",
    }


def test_a_broken_file_scores_at_chance(pico_model, made: Path, rows, tmp_path: Path):
    """A benchmark sees what loading does not: the file's scores fall when its weights are another's."""
    rows, settings = [rows["ner"]], EvaluationSettings(seeds=(1,), threads=1)
    encoder = load_exported(made, "model.onnx")
    file = onnx.load(made / FOLDER / "model.onnx")
    for tensor in file.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(list(tensor.dims), dtype=np.float32), tensor.name))
    broken = tmp_path / "broken"
    (broken / FOLDER).mkdir(parents=True)
    for path in pico_model("xlmr").iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / FOLDER / MANIFEST).write_text(json.dumps({"default": "model.onnx"}))
    onnx.save(file, broken / FOLDER / "model.onnx")
    scores = [evaluate(one, rows, settings).benchmarks["ner"].mean for one in (encoder, load_exported(broken))]
    assert scores[1] < scores[0] - 0.2


def test_there_must_be_an_export_to_judge(pico_model):
    with pytest.raises(NdogoError, match="no export to judge"):
        load_exported(pico_model("xlmr"))


def test_an_impossible_type_is_refused(tmp_path: Path, pico_model):
    with pytest.raises(NdogoError, match=r"steps\[0\].export"):
        parse_recipe("name: x\nsteps:\n  - export: {dtype: int3}\n")
    with pytest.raises(NdogoError, match="there already"):
        api.make(Export(), {"student": pico_model("xlmr")}, tmp_path)
