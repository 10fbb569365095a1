"""Every family and every head, in every precision, against PyTorch; and files that must be refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertForQuestionAnswering,
)

from ndogo.compressors.export import Settings, export
from ndogo.compressors.export.graph import OPSET, graph_of
from ndogo.compressors.export.heads import exportable
from ndogo.compressors.export.parity import parity, reference, refuse, session_of
from ndogo.compressors.export.precision import full_tables, in_precision
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_tokenizer, save
from tests.pico import FAMILIES, TEXT

ALL = Settings(precisions=("fp32", "fp16", "int8"), lines=12)


def manifest(out: Path) -> dict:
    return json.loads((out / "onnx" / "export.json").read_text())


def sentence_folder(source: Path, out: Path, *, dense: bool = True) -> Path:
    """A sentence-transformers folder around a pico model's encoder."""
    ready = exportable(source)
    save(ready.model.base_model, out)
    load_tokenizer(source).save_pretrained(out)
    modules = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    listed = [
        {
            "idx": n,
            "name": str(n),
            "path": "" if n == 0 else f"{n}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for n, kind in enumerate(modules)
    ]
    (out / "modules.json").write_text(json.dumps(listed))
    (out / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24}))
    (out / "1_Pooling").mkdir()
    (out / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    if dense:
        (out / "2_Dense").mkdir()
        config = {"in_features": 32, "out_features": 48, "bias": True, "activation_function": "torch.nn.Tanh"}
        (out / "2_Dense" / "config.json").write_text(json.dumps(config))
        torch.manual_seed(1)
        linear = torch.nn.Linear(32, 48)
        weights = {f"linear.{key}": value for key, value in linear.state_dict().items()}
        save_file(weights, out / "2_Dense" / "model.safetensors")
    return out


@pytest.fixture(scope="module")
def exported(pico_model, tmp_path_factory):
    """`exported("xlmr")` is an export in all precisions, and its numbers; never change it."""
    made: dict[str, tuple[Path, dict]] = {}

    def get(family: str) -> tuple[Path, dict]:
        if family not in made:
            out = tmp_path_factory.mktemp(family) / "out"
            made[family] = (out, export(pico_model(family), out, ALL, lambda: iter(TEXT)))
        return made[family]

    return get


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_pytorch_does(pico_model, exported, family: str):
    out, numbers = exported(family)
    assert numbers["fp32_agreement"] == 1.0
    assert numbers["fp32_cosine"] > 0.99999 and numbers["fp16_cosine"] > 0.9999 and numbers["int8_cosine"] > 0.98
    assert numbers["fp16_mb"] < 0.75 * numbers["fp32_mb"]
    for name in ("model.onnx", "model_fp16.onnx", "model_quantized.onnx"):
        file = onnx.load(out / "onnx" / name)
        assert {o.domain: o.version for o in file.opset_import}[""] == OPSET
        assert [i.name for i in file.graph.input] == ["input_ids", "attention_mask"]
        assert [o.name for o in file.graph.output] == ["logits", "last_hidden_state"]
    untouched = [file for file in pico_model(family).iterdir()]
    assert all((out / file.name).read_bytes() == file.read_bytes() for file in untouched)


def test_the_table_is_in_int8_and_stored_once(pico_model, exported):
    file = onnx.load(exported("xlmr")[0] / "onnx" / "model_quantized.onnx")
    rows = exportable(pico_model("xlmr")).model.config.vocab_size
    tables = [t for t in file.graph.initializer if rows in t.dims and len(t.dims) == 2 and min(t.dims) > 1]
    assert [t.data_type for t in tables] == [onnx.TensorProto.INT8]
    assert full_tables(file) == []
    assert np.abs(numpy_helper.to_array(tables[0])).max() <= 63  # seven bits: safe where kernels saturate


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("inner", "columns"), [(64, 16), (16, 64)])
def test_a_token_with_small_numbers_keeps_them_in_a_feed_forward_block(turned: bool, inner: int, columns: int):
    """One token with numbers 1,000 times larger would round the others away."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(inner, columns)).astype(np.float32)
    read = [helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0])] if turned else []
    graph = helper.make_graph(
        [*read, helper.make_node("MatMul", ["x", "turned" if turned else "w"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, None, inner])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, None, columns])],
        [numpy_helper.from_array(np.ascontiguousarray(weight.T) if turned else weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    sizes = np.array([[[1.0], [1000.0], [0.0]]], dtype=np.float32)
    rows = generator.normal(size=(1, 3, inner)).astype(np.float32) * sizes
    (given,) = session_of(in_precision(model, "int8")).run(None, {"x": rows})
    expected = rows @ weight
    for token in (0, 1):
        assert np.abs(given[0, token] - expected[0, token]).max() < 0.03 * np.abs(expected[0, token]).max()
    assert not given[0, 2].any(), "a row of zeros has a largest number, too"


@pytest.mark.parametrize(
    ("auto", "head"),
    [(AutoModelForSequenceClassification, "classes"), (AutoModelForTokenClassification, "tags")],
)
def test_task_heads(pico_model, tmp_path: Path, auto, head: str):
    source = pico_model("bert")
    torch.manual_seed(3)
    model = auto.from_pretrained(source, num_labels=3, id2label={0: "O", 1: "B-PER", 2: "I-PER"})
    save(model, tmp_path / "in")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "in")
    numbers = export(tmp_path / "in", tmp_path / "out", ALL, lambda: iter(TEXT))
    assert numbers["fp32_agreement"] == 1.0
    assert manifest(tmp_path / "out")["head"] == head
    assert manifest(tmp_path / "out")["labels"] == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize("dense", [True, False])
def test_sentence_vectors_have_their_whole_chain_inside(pico_model, tmp_path: Path, dense: bool):
    folder = sentence_folder(pico_model("xlmr"), tmp_path / "in", dense=dense)
    export(folder, tmp_path / "out", ALL, lambda: iter(TEXT))
    found = manifest(tmp_path / "out")
    assert (found["head"], found["max_length"]) == ("vectors", 24)
    ids = np.array([load_tokenizer(folder)(TEXT[0])["input_ids"]])
    file = (tmp_path / "out" / "onnx" / "model.onnx").read_bytes()
    (vector,) = session_of(file).run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    with torch.inference_mode():
        model = exportable(folder).model
        states = model(input_ids=torch.from_numpy(ids)).last_hidden_state.mean(1)
        if dense:
            torch.manual_seed(1)
            states = torch.nn.Linear(32, 48)(states).tanh()
        expected = torch.nn.functional.normalize(states)
    assert np.abs(vector - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "modules.json",
            [{"idx": 0, "path": "", "type": "x.Transformer"}, {"idx": 1, "path": "1", "type": "x.CNN"}],
            "CNN",
        ),
        ("1_Pooling/config.json", {"pooling_mode_lasttoken": True}, "lasttoken"),
        ("2_Dense/config.json", {"in_features": 32, "out_features": 48, "activation_function": "os.system"}, "system"),
        ("2_Dense/config.json", {"in_features": 31, "out_features": 48, "activation_function": "x.Tanh"}, "do not fit"),
    ],
)
def test_unknown_sentence_modules_are_refused(pico_model, tmp_path: Path, file: str, content, message: str):
    folder = sentence_folder(pico_model("xlmr"), tmp_path / "in")
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(NdogoError, match=message):
        export(folder, tmp_path / "out", ALL)
    assert not (tmp_path / "out").exists()


def test_an_unknown_head_is_refused(pico_model, tmp_path: Path):
    shutil.copytree(pico_model("bert"), tmp_path / "in")
    save(BertForQuestionAnswering.from_pretrained(tmp_path / "in"), tmp_path / "in")
    with pytest.raises(NdogoError, match="BertForQuestionAnswering"):
        export(tmp_path / "in", tmp_path / "out", ALL)


def test_an_int8_file_with_a_full_table_is_caught(pico_model, exported, tmp_path: Path):
    """Stock quantisation leaves the table, which is most of a small model, in fp32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    stock = tmp_path / "stock.onnx"
    quantize_dynamic(
        exported("xlmr")[0] / "onnx" / "model.onnx", stock, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8
    )
    ready = exportable(pico_model("xlmr"))
    found = parity(reference(ready, load_tokenizer(pico_model("xlmr")), TEXT[:8]), stock.read_bytes())
    with pytest.raises(NdogoError, match="not int8"):
        refuse("int8", found, stock.read_bytes(), "stock.onnx")


def test_a_file_at_chance_is_caught(pico_model, exported):
    """It loads and runs, but the rows of its table are another model's."""
    source = pico_model("xlmr")
    file = onnx.load(exported("xlmr")[0] / "onnx" / "model_quantized.onnx")
    for tensor in file.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            shuffled = np.random.default_rng(0).permutation(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(shuffled, tensor.name))
    raw = file.SerializeToString()
    found = parity(reference(exportable(source), load_tokenizer(source), TEXT[:8]), raw)
    with pytest.raises(NdogoError, match="does not answer as the model does"):
        refuse("int8", found, raw, "chance.onnx")


def test_padding_changes_nothing(pico_model):
    """Parity notices a file whose padded answers differ: a graph that ignores its mask."""
    ready = exportable(pico_model("xlmr"))
    expected = reference(ready, load_tokenizer(pico_model("xlmr")), [TEXT[0], "Mtoto.", "Kitabu kizuri."])
    graph = graph_of(ready)
    assert parity(expected, graph.SerializeToString()).agreement == 1.0
    for node in graph.graph.node:
        for position, name in enumerate(node.input):
            if name == "attention_mask":
                node.input[position] = "input_ids"  # every token's id is above 0, so nothing is masked
    with pytest.raises(NdogoError, match="does not answer"):
        refuse("fp32", parity(expected, graph.SerializeToString()), graph.SerializeToString(), "unmasked.onnx")


def test_a_full_precision_graph_stays_as_it_is(pico_model):
    graph = graph_of(exportable(pico_model("distilbert")))
    before = graph.SerializeToString()
    in_precision(graph, "int8")
    assert graph.SerializeToString() == before


def test_without_text_lines_come_from_the_vocabulary(pico_model, tmp_path: Path):
    export(pico_model("bert"), tmp_path / "out", Settings(("fp32",), 10))
    found = manifest(tmp_path / "out")["files"]["model.onnx"]["parity"]
    assert found["lines"] == 10 and found["agreement"] == 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokenizer_is_small_and_the_same(pico_model, exported, family: str):
    file = exported(family)[0] / "onnx" / "tokenizer.json"
    small, whole = Tokenizer.from_file(str(file)), load_tokenizer(pico_model(family))
    assert [small.encode(line).ids for line in TEXT] == whole(TEXT)["input_ids"]
    assert file.stat().st_size < (pico_model(family) / "tokenizer.json").stat().st_size
