"""finetune: an encoder becomes a task model, by evaluation's own loop, without a test row; a task model goes on with its head."""

import json
from pathlib import Path

import pytest
import torch

from ndogo import api
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_config, load_model, load_tokenizer
from ndogo.core.sentences import MODULES
from ndogo.evaluation import Benchmark, EvaluationSettings, evaluate
from ndogo.evaluation.own import agreement
from ndogo.registry.benchmarks import benchmark_of, labelled
from ndogo.registry.bundles import open_store
from ndogo.registry.hub import Hub
from ndogo.registry.languages import Language, add_language
from ndogo.steps.kinds.finetune import Finetune
from ndogo.steps.recipe import ORIGINAL, parse_recipe
from ndogo.tasks.run import Asked, planned, resolve
from tests import pico, tiny

OWN = EvaluationSettings(mode="own", threads=1)
QUICK = {"learning_rates": (5e-3,), "epochs": 12, "patience": 12, "batch_size": 4, "max_length": 32}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    """The tiny language's rows of one benchmark, in a folder each."""
    return tiny.write(tmp_path_factory.mktemp("tiny"))[1]


@pytest.fixture(scope="module")
def ner(rows: Path) -> Benchmark:
    return labelled("ner", str(rows / "ner"))


@pytest.fixture(scope="module")
def tagger(pico_model, rows: Path, tmp_path_factory) -> api.Made:
    """A pico encoder, fine-tuned on the tiny names."""
    out = tmp_path_factory.mktemp("tagger") / "out"
    step = Finetune(benchmark="ner", **QUICK)
    return api.make(step, {"student": pico_model("xlmr")}, out, rows=str(rows / "ner"), seed=3)


def test_the_model_is_whole_names_its_labels_and_is_the_one_that_dev_judged(tagger, ner, pico_model):
    config = load_config(tagger.path)
    assert config.architectures == ["XLMRobertaForTokenClassification"]
    assert tuple(config.id2label.values()) == ner.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert config.vocab_size == len(load_tokenizer(tagger.path)) == load_config(pico_model("xlmr")).vocab_size
    judged = evaluate(tagger.path, [ner], OWN).benchmarks["ner"]
    assert judged.dev == [tagger.numbers["dev_entity_f1"]] and judged.mean > 0.8
    assert judged.n_seeds == 1 and judged.metric == "entity_f1"


def test_rows_of_the_vocabulary_that_no_row_has_stay_as_they_were(tagger, pico_model):
    before, after = (load_model(p).get_input_embeddings().weight for p in (pico_model("xlmr"), tagger.path))
    changed = (before != after).any(1)
    assert 0 < int(changed.sum()) < len(changed) / 2


def test_no_test_row_is_read(pico_model, rows, tagger, tmp_path):
    import shutil

    other = tmp_path / "rows"
    shutil.copytree(rows / "ner", other)
    (other / "test.jsonl").write_text(json.dumps({"tokens": ["kitabu"], "tags": ["B-PER"]}) + "\n")
    step = Finetune(benchmark="ner", **QUICK)
    again = api.make(step, {"student": pico_model("xlmr")}, tmp_path / "out", rows=str(other), seed=3)
    assert (again.path / "model.safetensors").read_bytes() == (tagger.path / "model.safetensors").read_bytes()


def test_a_task_model_goes_on_with_its_own_head(tagger, rows, ner, tmp_path):
    step = Finetune(benchmark="ner", learning_rates=(1e-9,), epochs=1, max_length=32)
    again = api.make(step, {"student": tagger.path}, tmp_path / "out", rows=str(rows / "ner"))
    heads = [load_model(p).get_parameter("classifier.weight") for p in (tagger.path, again.path)]
    torch.testing.assert_close(*heads, rtol=0, atol=1e-5)
    found = [evaluate(p, [ner], OWN).benchmarks["ner"].scores for p in (tagger.path, again.path)]
    assert found[0] == found[1]


def test_a_head_of_another_task_is_replaced(tagger, rows, tmp_path):
    step = Finetune(benchmark="topic", **QUICK)
    again = api.make(step, {"student": tagger.path}, tmp_path / "out", rows=str(rows / "topic"))
    config = load_config(again.path)
    assert config.architectures == ["XLMRobertaForSequenceClassification"]
    assert set(config.label2id) == {"positive", "negative"}
    judged = evaluate(again.path, [labelled("topic", str(rows / "topic"))], OWN)
    assert judged.benchmarks["topic"].mean > 0.8


def test_an_embedding_model_ends_as_a_task_model(pico_model, rows, tmp_path):
    source = pico.embedder(pico_model("xlmr"), tmp_path / "embedder")
    step = Finetune(benchmark="ner", learning_rates=(5e-3,), epochs=1, max_length=32)
    made = api.make(step, {"student": source}, tmp_path / "out", rows=str(rows / "ner"))
    assert not (made.path / MODULES).exists()


def test_only_the_benchmark_whose_labels_it_has_is_judged(tagger, rows, ner):
    topic, pos = (labelled(kind, str(rows / kind)) for kind in ("topic", "pos"))
    judged = evaluate(tagger.path, [topic, pos, ner], OWN)
    assert list(judged.benchmarks) == ["ner"] and not judged.problems
    with pytest.raises(NdogoError, match="No benchmark could be judged") as refused:
        evaluate(tagger.path, [topic, pos], OWN)
    assert "answers for each token" in str(refused.value) and "have no ADJ, ADV, NOUN" in str(refused.value)


def test_a_model_without_a_head_has_no_answers_of_its_own(pico_model, ner):
    with pytest.raises(NdogoError, match="XLMRobertaForMaskedLM does not answer in labels"):
        evaluate(pico_model("xlmr"), [ner], OWN)


def test_a_model_agrees_with_itself_and_less_with_another(tagger, rows, tmp_path):
    other = api.make(
        Finetune(benchmark="ner", learning_rates=(1e-6,), epochs=1, max_length=32),
        {"student": tagger.path},
        tmp_path / "untaught",
        rows=str(rows / "ner"),
    ).path
    weights = load_model(other)
    torch.nn.init.normal_(weights.get_parameter("classifier.weight"))
    weights.save_pretrained(other)
    text = tiny.lines
    same, less = (agreement(p, tagger.path, lambda: iter(text()), OWN, api.silent) for p in (tagger.path, other))
    assert (same.equal, same.metric, same.lines) == (1.0, "entity_f1", min(500, len(text())))
    assert less.equal < 1 and less.answers == same.answers > same.lines


TASK = """
name: task
steps:
  - finetune: {benchmark: ner, learning_rates: [5.0e-3], epochs: 1}
  - truncate: {layers: 1}
  - distil: {teacher: finetune, objective: {task_logits: 1}, steps: 2, max_length: 32, mask_probability: 0}
"""


@pytest.fixture
def language(pico_model, tmp_path) -> Path:
    """The tiny language, added; its folder of rows."""
    text, folder = tiny.write(tmp_path / "language")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(pico_model("xlmr")), benchmarks=str(folder)))
    return folder


def test_a_run_is_judged_by_its_own_answers_from_the_first_task_model_on(language, tmp_path):
    file = tmp_path / "task.yaml"
    file.write_text(TASK)
    run = resolve(open_store(), "run", Asked(tiny.NAME, str(file), None, 0))
    assert (run.settings.mode, run.reference) == ("own", "finetune")
    assert run.evaluated() == ["finetune", "distil"]
    rows = {row.id: row for row in planned(run)}
    assert rows["finetune"].config.num_labels == 5 and rows["distil"].config.num_labels == 5
    probed = resolve(open_store(), "run", Asked(tiny.NAME, str(file), None, 0, mode="probe"))
    assert probed.evaluated() == [ORIGINAL, "distil"]
    before = run.requests()["finetune"].key
    train = language / "ner" / "train.jsonl"
    train.write_text("".join(train.read_text().splitlines(keepends=True)[1:]))
    after = resolve(open_store(), "run", Asked(tiny.NAME, str(file), None, 0)).requests()
    assert after["finetune"].key != before, "other rows, another model"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"mode": "own", "recipe": "trim-only"}, "`trim` has no head that answers in labels"),
        ({"baselines": True}, "Baselines are masked language models"),
    ],
)
def test_what_has_no_answers_of_its_own_is_refused_before_any_work(asked, said, language, tmp_path):
    file = tmp_path / "task.yaml"
    file.write_text(TASK)
    with pytest.raises(NdogoError, match=said):
        resolve(
            open_store(),
            "run",
            Asked(**{"language": tiny.NAME, "recipe": str(file), "profile": None, "seed": 0} | asked),
        )


@pytest.mark.parametrize(
    ("kind", "given", "said"), [("ner", "klingon", "klingon"), ("chunks", "swahili", "no benchmark `chunks`")]
)
def test_rows_that_are_not_there_are_refused(kind, given, said):
    with pytest.raises(NdogoError, match=said):
        labelled(kind, given, Hub())


def test_rows_of_a_language_are_those_of_its_benchmark():
    from ndogo.registry.languages import language as find

    found = labelled("topic", "swahili")
    assert found.fingerprint() == benchmark_of("topic", find("swahili"), "pocket", Hub()).fingerprint()


def test_a_plan_without_rows_counts_a_head_of_two():
    from ndogo.registry.teachers import teacher
    from ndogo.steps.plan import plan

    guide = teacher("xlm-roberta-base")
    found = plan(parse_recipe("name: x\nsteps:\n  - finetune: {benchmark: sentiment}\n"), guide.config, guide.specials)
    assert found[-1].config.architectures == ["XLMRobertaForSequenceClassification"]
    assert found[-1].config.num_labels == 2 and not found[-1].head
