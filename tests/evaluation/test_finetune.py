import copy
import itertools
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from ndogo import evaluation
from ndogo.core.architectures import layers_of
from ndogo.core.errors import NdogoError
from ndogo.evaluation import finetune
from ndogo.evaluation.adapters import add_adapters
from ndogo.evaluation.encoder import batches, encode, first_tokens, load_encoder, padded, used_rows, with_head
from ndogo.evaluation.finetune import at_the_edge
from ndogo.evaluation.rows import Benchmark, Sentence, Tagged
from ndogo.evaluation.settings import EvaluationSettings

WORDS = ["mtoto", "mdogo", "anasoma", "kitabu", "kizuri", "nyumbani", "watoto", "wadogo", "wanacheza", "mpira"]


def classes(rows: int = 96, seed: int = 0) -> Benchmark:
    """Two classes told apart by one word."""
    draw = random.Random(seed)
    made = []
    for i in range(rows):
        label, word = [("a", "kitabu"), ("b", "mpira")][i % 2]
        made.append(Sentence(" ".join([*draw.sample(WORDS[:3], draw.randint(1, 3)), word]), label))
    return Benchmark("topic", "classes", ("a", "b"), {"train": made, "dev": made[:12], "test": made[:20]})


def tokens(kind: str = "tags") -> Benchmark:
    names = {"tags": ("NOUN", "VERB"), "entities": ("O", "B-PER", "I-PER")}[kind]
    draw = random.Random(1)
    made = []
    for _ in range(40):
        words = tuple(draw.choices(WORDS, k=draw.randint(2, 6)))
        if kind == "tags":
            made.append(Tagged(words, tuple("VERB" if w.startswith("wana") else "NOUN" for w in words)))
        else:
            made.append(Tagged(words, tuple("B-PER" if w == "mtoto" else "O" for w in words)))
    return Benchmark(
        {"tags": "pos", "entities": "ner"}[kind], kind, names, dict.fromkeys(("train", "dev", "test"), made)
    )


def quick(**changed: object) -> EvaluationSettings:
    return EvaluationSettings(
        **{"mode": "finetune", "seeds": (1, 2), "learning_rates": (5e-3,), "epochs": 6, "threads": 1, **changed}
    )


def test_the_same_seed_gives_the_same_record_to_the_last_digit_and_leaves_the_encoder_alone(pico_model):
    encoder = load_encoder(pico_model("xlmr"))
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    generator = torch.random.get_rng_state()
    benchmarks = [classes(), tokens("tags"), tokens("entities")]
    once = evaluation.evaluate(encoder, benchmarks, quick())
    again = evaluation.evaluate(pico_model("xlmr"), benchmarks, quick())
    assert once.benchmarks == again.benchmarks
    assert once.benchmarks["topic"].mean > 0.9, "a task that one word decides is learnt"
    assert [b.metric for b in once.benchmarks.values()] == ["macro_f1", "accuracy", "entity_f1"]
    assert once.benchmarks["topic"].n_seeds == 2
    assert all(torch.equal(before[name], value) for name, value in encoder.model.state_dict().items())
    assert torch.equal(generator, torch.random.get_rng_state()), "the caller's generator is given back"


def test_every_family_is_fine_tuned_and_progress_is_shown(any_pico):
    seen = []
    settings = quick(seeds=(1,), epochs=1)
    record = evaluation.evaluate(
        any_pico,
        [classes(), tokens("tags")],
        settings,
        lambda doing, done, total, numbers=None: seen.append((done, total)),
    )
    assert not record.problems and set(record.benchmarks) == {"topic", "pos"}
    assert seen[-1][0] == seen[-1][1], "the last report is the end"


def test_dev_chooses_the_learning_rate(pico_model):
    settings = quick(learning_rates=(1e-9, 5e-3), seeds=(1,))
    record = evaluation.evaluate(pico_model("bert"), [classes()], settings)
    assert record.benchmarks["topic"].chosen == {"learning_rate": 5e-3}


def test_rates_lie_in_steps_of_about_1_6_and_one_at_the_edge_is_told():
    rates = EvaluationSettings().learning_rates
    assert all(1.5 < high / low < 1.7 for low, high in itertools.pairwise(rates))
    assert at_the_edge(rates[0], rates) == ["the chosen learning rate 5e-05 is the lowest that was tried"]
    assert at_the_edge(rates[-1], rates) == ["the chosen learning rate 0.0008 is the highest that was tried"]
    assert at_the_edge(rates[1], rates) == [] == at_the_edge(rates[0], rates[:1])


def test_the_record_says_that_the_chosen_rate_is_the_edge(pico_model):
    settings = quick(learning_rates=(1e-9, 5e-3), seeds=(1,))
    found = evaluation.evaluate(pico_model("bert"), [classes()], settings).benchmarks["topic"]
    assert found.remarks == ["the chosen learning rate 0.005 is the highest that was tried"]


def test_a_training_that_diverged_is_tried_again_lower(pico_model, monkeypatch):
    """Seed 2 is made to diverge for real: its first training starts from weights that are no numbers."""
    from ndogo.evaluation import finetune

    tried: list[tuple[int, float]] = []
    made = finetune._train

    def train(work, rate, seed, number):
        tried.append((seed, rate))
        if tried.count((2, 5e-3)) and rate == 5e-3 and seed == 2:
            broken = copy.deepcopy(work.encoder.model)
            torch.nn.init.constant_(broken.get_input_embeddings().weight, float("nan"))
            return made(replace(work, encoder=replace(work.encoder, model=broken)), rate, seed, number)
        return made(work, rate, seed, number)

    monkeypatch.setattr(finetune, "_train", train)
    found = evaluation.evaluate(pico_model("bert"), [classes()], quick()).benchmarks["topic"]
    assert tried == [(1, 5e-3), (2, 5e-3), (2, 5e-3 / 1.6)]
    assert found.remarks == ["seed 2 diverged at the learning rate 0.005 and was trained again at 0.00312"]
    assert min(found.scores) > 0.9


def test_bfloat16_learns_as_well(pico_model):
    record = evaluation.evaluate(pico_model("xlmr"), [classes()], quick(precision="bf16", seeds=(1,)))
    assert record.benchmarks["topic"].mean > 0.9


@pytest.mark.parametrize("family", ["xlmr", "bert", "distilbert", "roberta", "modernbert", "eurobert"])
def test_a_bare_encoder_not_made_by_us_is_read_exactly(family, pico_model, tmp_path):
    source = pico_model(family)
    torch.manual_seed(3)
    bare = AutoModel.from_pretrained(source).eval()
    bare.save_pretrained(tmp_path)
    for file in source.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    encoder = load_encoder(tmp_path)
    benchmark = classes()
    encoded = encode(encoder, benchmark, benchmark.splits["test"], 32)
    kept = used_rows(encoder, encoded.ids)
    headed = with_head(encoder, benchmark, kept, seed=5).eval()
    new = {int(old): i for i, old in enumerate(kept)}
    with torch.inference_mode():
        whole = bare(**padded(encoded.ids, encoder.tokenizer.pad_token_id)).last_hidden_state
        inputs = padded([[new[i] for i in ids] for ids in encoded.ids], headed.config.pad_token_id)
        small = headed.base_model(**inputs).last_hidden_state
    real = torch.tensor([len(ids) for ids in encoded.ids])
    for row, length in enumerate(real):
        torch.testing.assert_close(small[row, :length], whole[row, :length])
    assert len(kept) < bare.config.vocab_size


def test_weights_that_do_not_fit_are_refused_and_not_filled_in(pico_model, tmp_path):
    source = pico_model("bert")
    shutil.copytree(source, tmp_path / "m")
    config = AutoConfig.from_pretrained(source)
    config.num_hidden_layers = 3
    config.save_pretrained(tmp_path / "m")
    with pytest.raises(NdogoError, match="do not fit") as refused:
        load_encoder(tmp_path / "m")
    assert "encoder.layer.2" in str(refused.value)
    config.num_hidden_layers = 1
    config.save_pretrained(tmp_path / "m")
    with pytest.raises(NdogoError, match="do not fit"):
        load_encoder(tmp_path / "m")


def test_the_first_piece_of_each_word_is_found_and_cut_words_are_nowhere(pico_model):
    assert first_tokens(["ab", "c", "d"], [(0, 0), (0, 1), (1, 2), (2, 4), (0, 0)]) == [1, 3, -1]
    encoder = load_encoder(pico_model("xlmr"))
    row = Tagged(tuple(WORDS), ("NOUN",) * len(WORDS))
    benchmark = Benchmark("pos", "tags", ("NOUN",), {})
    whole = encode(encoder, benchmark, [row], 60)
    for word, first in zip(WORDS, whole.firsts[0], strict=True):
        piece = encoder.tokenizer.convert_ids_to_tokens(whole.ids[0][first])
        assert word.startswith(piece.removeprefix("▁")) or piece == "▁"
    assert -1 in encode(encoder, benchmark, [row], 9).firsts[0]


def test_shuffled_batches_hold_every_row_once_and_little_padding():
    import numpy as np

    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    made = list(batches(lengths, 16, "shuffled", np.random.default_rng(1)))
    assert sorted(np.concatenate(made)) == list(range(1000))
    waste = sum(len(b) * max(lengths[b]) for b in made) / lengths.sum()
    assert waste < 1.15


def test_import_is_light():
    import subprocess
    import sys

    heavy = "torch transformers sklearn prefect mlflow"
    code = f"import sys, evaluation; sys.exit(any(m in sys.modules for m in '{heavy}'.split()))"
    root = Path(evaluation.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ, check=False).returncode == 0


def test_a_masked_lm_directory_loads_without_a_word(pico_model, caplog):
    load_encoder(pico_model("bert"))
    assert caplog.text == ""


def test_an_adapter_begins_as_nothing_and_is_as_narrow_as_asked(any_pico):
    encoder = load_encoder(any_pico)
    model, plain = (with_head(encoder, classes(), np.arange(encoder.model.config.vocab_size), 1) for _ in range(2))
    add_adapters(model, reduction=8)
    inputs = {"input_ids": torch.tensor([[5, 6, 7]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, plain.eval()(**inputs).logits)
    learnt = {
        name: p.shape for name, p in model.base_model.named_parameters() if p.requires_grad and "pooler" not in name
    }
    shapes = [(4, 32), (4,), (32, 4), (32,)]
    assert [tuple(shape) for shape in learnt.values()] == shapes * len(layers_of(model))


def test_adapters_learn_while_the_encoder_stays_as_it_is(any_pico, monkeypatch):
    encoder, trained = load_encoder(any_pico), []
    monkeypatch.setattr(
        finetune, "add_adapters", lambda model, reduction: trained.append(model) or add_adapters(model, reduction)
    )
    settings = quick(mode="adapter", seeds=(1,), epochs=1, reduction=8)
    record = evaluation.evaluate(encoder, [tokens("tags")], settings)
    (model,), before = trained, encoder.model.state_dict()
    words = model.get_input_embeddings().weight
    for name, value in model.base_model.state_dict().items():
        if ".up." in name:
            assert value.any(), "it was zero"
        elif ".down." not in name and "pooler" not in name and value.shape != words.shape:
            assert torch.equal(value, before[name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")]), name
    assert torch.isin(words, encoder.model.get_input_embeddings().weight).all() and record.benchmarks["pos"].mean > 0


def test_the_reduction_is_part_of_an_evaluations_key_only_where_it_is_another():
    assert "reduction" not in quick().model_dump()
    assert quick(mode="adapter", reduction=4).model_dump()["reduction"] == 4
