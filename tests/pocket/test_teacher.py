"""The shipped teacher is what its page says, and the stage is built from it as it claims."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ndogo import pocket
from ndogo.core.models import load_config, load_model, load_tokenizer, parameters
from ndogo.pocket.generator import POLARITY, Sense, Teller, opinion
from ndogo.pocket.stage import BENCHMARKS, VARIANTS, judged, merged, stages, table, write_variants
from ndogo.pocket.world import world


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_variants(pocket.teacher(), tmp_path_factory.mktemp("variants"))


def test_shape_and_size():
    config = load_config(pocket.teacher())
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (6, 192, 512)
    assert config.architectures == ["XLMRobertaForMaskedLM"]
    assert (pocket.teacher() / "model.safetensors").stat().st_size <= 8_000_000
    assert parameters(load_model(pocket.teacher())) < 4_000_000


def test_the_vocabulary_has_the_layout_of_xlmr():
    tokenizer = load_tokenizer(pocket.teacher())
    assert tokenizer.is_fast and len(tokenizer) == load_config(pocket.teacher()).vocab_size >= 8_000
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, len(tokenizer) - 1]) == [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "<mask>",
    ]
    assert (pocket.teacher() / "sentencepiece.bpe.model").is_file()
    for language in pocket.LANGUAGES:
        ids = tokenizer(list(pocket.held_out(language, 20)))["input_ids"]
        assert not any(tokenizer.unk_token_id in row for row in ids)


def test_it_knows_its_languages():
    """Masked pieces of held-out lines are guessed far better than by chance, in every language."""
    tokenizer, model = load_tokenizer(pocket.teacher()), load_model(pocket.teacher())
    for language in pocket.LANGUAGES:
        batch = tokenizer(list(pocket.held_out(language, 24)), return_tensors="pt", padding=True)
        ids = batch["input_ids"]
        places = torch.arange(ids.shape[1]) % 5 == 3
        asked = places & (batch["attention_mask"] == 1) & (ids > 3)
        with torch.no_grad():
            logits = model(ids.masked_fill(asked, tokenizer.mask_token_id), batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(logits[asked], ids[asked])
        assert float(loss) < 0.5 * math.log(len(tokenizer)), language


def polar_pieces(language: str) -> dict[int, dict[str, int]]:
    """The words that only outcomes of that sign have, where they are one piece, with its row."""
    tokenizer = load_tokenizer(pocket.teacher())

    def forms(sign: int) -> set[str]:
        entries = [entry for kind in "oge" for entry in world(language).words[f"{POLARITY[sign]}.{kind}"]]
        return {form for entry in entries for word in entry for form in word.forms}

    rows = {word: tokenizer(word, add_special_tokens=False)["input_ids"] for sign in (1, -1) for word in forms(sign)}
    return {sign: {w: rows[w][0] for w in forms(sign) - forms(-sign) if len(rows[w]) == 1} for sign in (1, -1)}


@pytest.mark.parametrize("language", ["english", "swahili", "yoruba"])
def test_it_knows_what_a_negation_does(language: str):
    """After a negated opinion the hidden word of the outcome is guessed from the other side's words."""
    tokenizer, model, words = load_tokenizer(pocket.teacher()), load_model(pocket.teacher()), polar_pieces(language)
    teller, right, asked = Teller(world(language), random.Random("negation")), 0, 0
    while asked < 60:
        sign = teller.sign()
        told = teller.join("after", opinion(teller, sign, 1.0), teller.clause("outcome", Sense(polarity=sign)))
        places = [place for place, token in enumerate(told) if token.text in words[sign]]
        if not places:
            continue
        told[places[-1]] = replace(told[places[-1]], text=tokenizer.mask_token)
        batch = tokenizer(world(language).plain(teller.line(told)), return_tensors="pt")
        with torch.no_grad():
            logits = model(**batch).logits[batch["input_ids"] == tokenizer.mask_token_id][-1]
        mass = {s: logits[sorted(words[s].values())].logsumexp(0) for s in words}
        right, asked = right + bool(mass[sign] > mass[-sign]), asked + 1
    assert right >= 48, f"{right} of {asked}"


def test_variants_are_what_they_are_called(variants: dict[str, Path]):
    models = {name: load_model(path) for name, path in variants.items()}
    words = {name: model.get_input_embeddings().weight for name, model in models.items()}
    assert tuple(models) == VARIANTS
    assert torch.equal(words["embeddings"], words["teacher"]) and not torch.equal(words["untrained"], words["teacher"])
    query = "encoder.layer.{}.attention.self.query.weight"
    old, half, fresh = (models[n].base_model for n in ("teacher", "half", "embeddings"))
    assert half.config.num_hidden_layers == 3
    assert torch.equal(half.get_parameter(query.format(1)), old.get_parameter(query.format(2)))
    assert not torch.equal(fresh.get_parameter(query.format(1)), old.get_parameter(query.format(1)))


def test_the_teacher_beats_an_untrained_model(variants: dict[str, Path]):
    topic = [benchmark for benchmark in stages("swahili") if benchmark.name == "topic"]
    scores = {name: judged(variants[name], topic, "probe", (1,))["topic"][0] for name in ("untrained", "teacher")}
    assert scores["teacher"] > scores["untrained"] + 15


def test_the_table_joins_runs(tmp_path: Path):
    import json

    for number, score in enumerate((50.0, 70.0)):
        found = {"igbo": {variant: {name: [score] for name in BENCHMARKS} for variant in VARIANTS}}
        found["igbo"]["teacher"] = {name: [score + 20] for name in BENCHMARKS}
        (tmp_path / f"{number}.json").write_text(json.dumps(found | {"slovak": {"untrained": {}}}))
    scores = merged(sorted(tmp_path.glob("*.json")))
    assert table(scores).splitlines()[2:] == ["| igbo | 2 | 60.0 | 60.0 | 60.0 | 80.0 | 100.0 | 20.0 | 20.0 | 20.0 |"]
