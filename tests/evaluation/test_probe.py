import copy
import random
import shutil

import pytest
import torch

from ndogo import evaluation
from ndogo.core.errors import NdogoError
from ndogo.core.sentences import Vectors, write_modules
from ndogo.evaluation.encoder import Encoder, load_encoder
from ndogo.evaluation.rows import Benchmark, Broken, Sentence
from ndogo.evaluation.settings import EvaluationSettings
from tests.evaluation.test_finetune import WORDS, classes, tokens

SETTINGS = EvaluationSettings(mode="probe", threads=1)


def test_probing_repeats_to_the_last_digit_and_has_a_spread_over_seeds(pico_model):
    benchmarks = [classes(), tokens("tags"), tokens("entities")]
    once = evaluation.evaluate(pico_model("xlmr"), benchmarks, SETTINGS)
    again = evaluation.evaluate(pico_model("xlmr"), benchmarks, SETTINGS)
    assert once.benchmarks == again.benchmarks
    assert once.benchmarks["topic"].mean > 0.9
    hard = Benchmark("topic", "classes", ("a", "b"), _unlearnable())
    found = evaluation.evaluate(pico_model("xlmr"), [hard], SETTINGS).benchmarks["topic"]
    assert found.n_seeds == 3 and found.std > 0


def _unlearnable():
    draw = random.Random(0)
    return {
        split: [Sentence(" ".join(draw.sample(WORDS, 3)), draw.choice("ab")) for _ in range(60)]
        for split in ("train", "dev", "test")
    }


def test_every_family_is_probed_and_untouched(any_pico):
    encoder = load_encoder(any_pico)
    before = copy.deepcopy(encoder.model.state_dict())
    record = evaluation.evaluate(encoder, [classes(), tokens("tags")], SETTINGS)
    assert not record.problems
    assert all(torch.equal(before[name], value) for name, value in encoder.model.state_dict().items())


def test_all_test_rows_are_scored_with_every_seed(pico_model):
    """Else each seed's own sample of the test rows would be a spread that no model has."""
    found = evaluation.evaluate(pico_model("xlmr"), [tokens("tags")], SETTINGS).benchmarks["pos"]
    for score, items in zip(found.scores, found.items, strict=True):
        right, words = (sum(column) for column in zip(*items, strict=True))
        assert len(items) == found.rows["test"] and score == pytest.approx(right / words)


def test_the_probe_reads_the_last_layer_only(pico_model):
    """What stands in the middle layer alone is not seen: a last layer without anything leaves the probe blind."""
    encoder = load_encoder(pico_model("xlmr"))
    blind = copy.deepcopy(encoder.model)
    for parameter in blind.encoder.layer[-1].output.LayerNorm.parameters():
        torch.nn.init.zeros_(parameter)
    record = evaluation.evaluate(Encoder("blind", blind, encoder.tokenizer), [classes()], SETTINGS)
    assert record.benchmarks["topic"].mean < 0.6


def test_a_text_is_probed_by_the_vector_that_the_folder_says(pico_model, tmp_path):
    """A dense layer of zeros leaves nothing of a text; words are not read through it."""
    folder = tmp_path / "vectors"
    shutil.copytree(pico_model("xlmr"), folder)
    width = load_encoder(folder).model.config.hidden_size
    dense = torch.nn.Linear(width, 3)
    torch.nn.init.zeros_(dense.weight)
    write_modules(folder, (dense,), Vectors(pooling="cls"))
    found = evaluation.evaluate(folder, [classes(), tokens("tags")], SETTINGS).benchmarks
    assert found["topic"].mean < 0.6 and found["pos"].mean > 0.6
    states, real = torch.randn(2, 5, width), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert load_encoder(folder).text_vectors(states, real).shape == (2, 3)
    mean = load_encoder(pico_model("xlmr")).text_vectors(states, real)
    assert torch.allclose(mean[1], states[1, :3].mean(0))


def test_all_words_are_read_up_to_a_cap_that_is_part_of_the_settings():
    from ndogo.evaluation.encoder import Encoded
    from ndogo.evaluation.probe import _drawn

    rows = 9_000  # with 20 words each as many as Swahili's NER has
    data = Encoded([[0]] * rows, [[0] * 20] * rows, [[0] * 20] * rows)
    assert len(_drawn(1, data, tokens("tags"), SETTINGS.train_units)) == round(0.8 * rows)
    assert len(_drawn(1, data, tokens("tags"), 20_000)) == 1_000
    assert "train_units" in SETTINGS.model_dump()


def test_probing_sees_the_layers_and_not_only_the_embeddings(pico_model):
    """Word order decides: a bag of embeddings cannot know it, a layer can."""
    rows = [
        Sentence(f"{a} {b}", "first" if a == "kitabu" else "second")
        for a, b in [("kitabu", "mpira"), ("mpira", "kitabu")]
    ]
    benchmark = Benchmark("topic", "classes", ("first", "second"), dict.fromkeys(("train", "dev", "test"), rows * 20))
    encoder = load_encoder(pico_model("xlmr"))
    assert evaluation.evaluate(encoder, [benchmark], SETTINGS).benchmarks["topic"].mean == 1.0
    blind = copy.deepcopy(encoder.model)
    for name, parameter in blind.named_parameters():
        if "position" in name or name.startswith("encoder"):
            torch.nn.init.zeros_(parameter)
    record = evaluation.evaluate(Encoder("blind", blind, encoder.tokenizer), [benchmark], SETTINGS)
    assert record.benchmarks["topic"].mean < 0.6


def test_one_broken_benchmark_does_not_cost_the_others(pico_model):
    wrong = Broken("ner", "line 3 is wrong")
    record = evaluation.evaluate(pico_model("bert"), [wrong, classes()], SETTINGS)
    assert list(record.benchmarks) == ["topic"] and record.problems == {"ner": "line 3 is wrong"}
    with pytest.raises(NdogoError, match="No benchmark could be judged"):
        evaluation.evaluate(pico_model("bert"), [wrong], SETTINGS)


def test_progress_comes_during_the_work(pico_model):
    seen = []
    evaluation.evaluate(
        pico_model("bert"),
        [classes()],
        SETTINGS,
        lambda doing, done, total, numbers=None: seen.append((doing, done, total)),
    )
    assert {doing for doing, *_ in seen} == {"probing topic: states", "probing topic: linear heads"}
    assert seen[-1][1] == seen[-1][2]


@pytest.mark.parametrize(
    "bad",
    [
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"learning_rates": (-1.0,)},
        {"epochs": 0},
        {"mode": "guess"},
        {"epoch": 3},
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        EvaluationSettings(**bad)


def test_a_benchmark_is_asked_for_by_its_name_or_for_every_member_of_a_group():
    asked = EvaluationSettings(benchmarks=("topic", "sentiment_swahili"))
    names = ("topic", "topic_igbo", "sentiment_swahili", "sentiment_igbo", "ner")
    assert [asked.asks(name) for name in names] == [True, True, True, False, False]
    assert all(EvaluationSettings().asks(name) for name in names)
    assert "benchmarks" not in EvaluationSettings().model_dump(), "evaluations of before keep their keys"
    with pytest.raises(NdogoError, match="no benchmark `topics`"):
        EvaluationSettings(benchmarks=("topics",))


@pytest.mark.real
def test_the_real_teacher_is_judged_on_real_swahili(shared):
    benchmarks = [evaluation.read_local(shared / "data", name, "swa") for name in ("topic", "pos")]
    record = evaluation.evaluate(shared / "teacher", benchmarks, SETTINGS)
    assert not record.problems
    assert 0.4 < record.benchmarks["topic"].mean < 0.7
    assert 0.75 < record.benchmarks["pos"].mean < 0.9
