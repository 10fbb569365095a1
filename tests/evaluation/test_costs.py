import shutil

import pytest
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from ndogo import evaluation
from ndogo.core.download import tokenizer_bytes
from ndogo.core.errors import NdogoError
from ndogo.core.models import empty_model, load_config
from ndogo.core.progress import silent
from ndogo.evaluation.costs import WARM, _speeds, _unloaded, bytes_of, disk, parameters_by_part
from ndogo.evaluation.encoder import load_encoder
from ndogo.evaluation.settings import CostSettings

QUICK = CostSettings(batches=(1, 2), lengths=(8, 16, 500), repeats=6, threads=1)


def test_parameters_by_part_are_those_counted_by_hand(pico_model):
    model = empty_model(load_config(pico_model("bert")))
    vocab = model.config.vocab_size
    embeddings = 32 * (vocab + 66 + 2) + 2 * 32
    layer = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 4 * 32
    head = 32 * 32 + 32 + 2 * 32 + vocab  # the decoder's matrix is the word embedding
    found = parameters_by_part(model)
    assert (found.embeddings, found.layers, found.head) == (embeddings, 2 * layer, head)
    assert found.total == embeddings + 2 * layer + head


def test_the_parts_of_every_family_add_up_and_none_is_empty(any_pico):
    model = AutoModelForMaskedLM.from_pretrained(any_pico)
    found = parameters_by_part(model)
    parts = (found.embeddings, found.layers, found.head)
    assert found.total == sum(p.numel() for p in model.parameters()) == sum(parts)
    assert min(parts) > 0


def test_bytes_are_the_arithmetic_of_the_tensors(pico_model):
    model = empty_model(load_config(pico_model("bert")))
    found, total = bytes_of(model), sum(p.numel() for p in model.parameters())
    assert found["fp32"] == 4 * total and found["fp16"] == 2 * total
    rows = sum(p.shape[0] for p in model.parameters() if p.dim() > 1)
    vectors = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    assert found["int8"] == (total - vectors) + 4 * rows + 4 * vectors
    assert disk(pico_model("bert")) >= (pico_model("bert") / "model.safetensors").stat().st_size


def test_one_model_is_measured_and_progress_shown(pico_model):
    seen = []
    found = evaluation.cost(
        pico_model("bert"), None, QUICK, lambda doing, done, total, numbers=None: seen.append(doing)
    )
    assert found.teacher is None and set(seen) == {"memory", "speed"}
    assert set(found.student.speed) == {"1x8", "1x16", "2x8", "2x16"}, "500 tokens do not fit"
    assert 0 < found.student.memory.idle <= found.student.memory.peak
    tokenizer = tokenizer_bytes(pico_model("bert"))
    assert found.student.parameters.total * 4 + tokenizer == found.student.bytes.fp32 and tokenizer > 1000


def test_teacher_and_student_take_turns(pico_model):
    encoders = {"student": load_encoder(pico_model("bert")), "teacher": load_encoder(pico_model("xlmr"))}
    order = []
    for role, encoder in encoders.items():
        encoder.model.register_forward_pre_hook(lambda *_, role=role: order.append(role))
    found = _speeds(encoders, QUICK, silent)
    assert order == ["student", "teacher"] * (len(order) // 2) and len(order) == 2 * 4 * (6 + WARM)
    for role in encoders:
        for cell in found[role].values():
            assert cell.runs == 6 and 0 < cell.p50_ms <= cell.p95_ms and cell.rows_per_second > 0


def test_a_bare_encoder_that_names_no_class_is_counted(pico_model, tmp_path):
    AutoModel.from_pretrained(pico_model("bert")).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    config.architectures = None
    config.save_pretrained(tmp_path)
    for file in pico_model("bert").glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    assert parameters_by_part(_unloaded(tmp_path)).head == 32 * 32 + 32, "the pooler"


def test_what_is_no_model_directory_is_refused(tmp_path):
    with pytest.raises(NdogoError, match="not a model directory"):
        evaluation.cost(tmp_path)


def test_latency_compares_two_models_in_turn(pico_model, monkeypatch):
    from ndogo.evaluation import costs

    clock = iter(number / 1000 for number in range(100_000))
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(clock))
    found = evaluation.latency(pico_model("bert"), pico_model("xlmr"))
    assert [found.latency_ms, found.latency_teacher_ms, found.speedup] == pytest.approx([1, 1, 1])
    monkeypatch.undo()
    assert evaluation.latency(pico_model("bert"), pico_model("bert")).speedup > 0
