"""`trim` from directory to directory, every family."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertModel,
)

from ndogo.compressors.vocabulary.counting import encode
from ndogo.core.models import load_model, load_tokenizer
from tests import pico

FAMILIES = [*pico.FAMILIES, *pico.UNLISTED, "gemma"]
SIZES = {
    "xlmr": 100,
    "bert": 130,
    "bert_uncased": 130,
    "distilbert": 130,
    "roberta": 330,
    "modernbert": 330,
    "eurobert": 330,
    "deberta": 100,
    "deberta_shared": 100,
    "gemma": 400,
}

SWAHILI = pico.TEXT[:4] * 9


def plain(path: Path):
    backend = load_tokenizer(path).backend_tokenizer
    backend.no_truncation()
    return backend


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trimmed_model_is_the_old_one_on_the_kept_tokens(model_of, trimmed, family):
    source = model_of(family)
    before = {f.name: f.read_bytes() for f in source.iterdir()}
    out, numbers = trimmed(source, text=SWAHILI, size=10_000)
    assert {f.name: f.read_bytes() for f in source.iterdir()} == before
    maps = json.loads((out / "old_to_new.json").read_text())
    kept = maps["new_to_old"]
    tokenizer, old_tokenizer = load_tokenizer(out), load_tokenizer(source)
    assert kept == sorted(kept) and {int(o): n for o, n in maps["old_to_new"].items()} == {
        o: n for n, o in enumerate(kept)
    }
    assert tokenizer.convert_ids_to_tokens(range(len(kept))) == old_tokenizer.convert_ids_to_tokens(kept)
    model, old = load_model(out), load_model(source)
    assert len(tokenizer) == len(kept) == model.config.vocab_size == numbers["pieces_after"] < len(old_tokenizer)
    assert numbers["held_out.covered"] == numbers["held_out.covered_identical"] and numbers["rows_equal"]
    covered = 0
    for line in pico.TEXT[:9]:
        ids = old_tokenizer(line, return_tensors="pt").input_ids
        if set(ids[0].tolist()) <= set(kept):
            covered += 1
            new = tokenizer(line, return_tensors="pt").input_ids
            assert torch.tensor(kept)[new].equal(ids)
            with torch.inference_mode():
                expected = old(ids).logits[..., kept]
                torch.testing.assert_close(
                    model(new).logits, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item()
                )
    assert covered


@pytest.mark.parametrize("family", FAMILIES)
def test_every_id_that_something_names_is_the_new_one(model_of, trimmed, family):
    source = model_of(family)
    (out, _), tokenizer_before = trimmed(source, size=SIZES[family]), load_tokenizer(source)
    tokenizer, config, old_config = (
        load_tokenizer(out),
        AutoConfig.from_pretrained(out),
        AutoConfig.from_pretrained(source),
    )
    assert tokenizer.special_tokens_map == tokenizer_before.special_tokens_map
    assert tokenizer.model_max_length == tokenizer_before.model_max_length
    assert type(tokenizer) is type(tokenizer_before)
    for name, old in old_config.to_dict().items():
        if name.endswith("_token_id") and old is not None:
            token = tokenizer_before.convert_ids_to_tokens(old)
            assert tokenizer.convert_ids_to_tokens(getattr(config, name)) == token, name
    words = load_model(out).get_input_embeddings()
    assert words.num_embeddings == len(tokenizer) and words.padding_idx == config.pad_token_id
    pair, old_pair = tokenizer("kitabu", "siku"), tokenizer_before("kitabu", "siku")
    assert (
        tokenizer.convert_ids_to_tokens(pair.input_ids)[0]
        == tokenizer_before.convert_ids_to_tokens(old_pair.input_ids)[0]
    )
    masked = tokenizer(f"a {tokenizer.mask_token} b").input_ids
    assert tokenizer.mask_token_id in masked
    added = {str(t): i for i, t in tokenizer.added_tokens_decoder.items()}
    assert added.keys() == {str(t) for t in tokenizer_before.added_tokens_decoder.values()}
    assert all(tokenizer.convert_tokens_to_ids(t) == i for t, i in added.items())


@pytest.mark.parametrize("family", ["xlmr", "roberta", "bert", "gemma"])
def test_trimming_a_trimmed_model_gives_what_trimming_once_gives(model_of, trimmed, family):
    first, _ = trimmed(model_of(family), name="first", size=SIZES[family])
    again, _ = trimmed(first, name="again", size=SIZES[family])
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (again / name).read_bytes() == (first / name).read_bytes()
    smaller, numbers = trimmed(first, name="smaller", coverage=0.9)
    assert numbers["pieces_after"] < numbers["pieces_before"] and load_model(smaller)


def test_two_runs_write_the_same_bytes(model_of, trimmed):
    first, _ = trimmed(model_of("xlmr"), name="first", size=100)
    second, _ = trimmed(model_of("xlmr"), name="second", size=100)
    assert {f.name for f in first.iterdir()} == {f.name for f in second.iterdir()}
    assert all(f.read_bytes() == (second / f.name).read_bytes() for f in first.iterdir())


def test_ties_stay_ties_and_the_file_holds_the_matrix_once(model_of, trimmed):
    out, numbers = trimmed(model_of("xlmr"), size=100)
    model = load_model(out)
    assert model.lm_head.decoder.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    stored = load_file(out / "model.safetensors")
    assert sum(t.shape[0] == numbers["rows_after"] for t in stored.values()) == 2, "embedding and bias"
    assert sum(t.numel() for t in stored.values()) == numbers["params"]


def test_an_untied_decoder_keeps_its_own_rows(model_of, trimmed, tmp_path):
    model = load_model(model_of("bert"))
    config = type(model.config).from_dict(model.config.to_dict() | {"tie_word_embeddings": False})
    untied = type(model)(config)
    untied.load_state_dict(model.state_dict())
    with torch.no_grad():
        untied.cls.predictions.decoder.weight.add_(torch.randn_like(untied.cls.predictions.decoder.weight))
    source = tmp_path / "untied"
    shutil.copytree(model_of("bert"), source)
    untied.save_pretrained(source)
    out, numbers = trimmed(source, text=SWAHILI, size=10_000)
    kept = json.loads((out / "old_to_new.json").read_text())["new_to_old"]
    found = load_model(out)
    assert found.cls.predictions.decoder.weight.equal(untied.cls.predictions.decoder.weight[kept])
    assert found.get_input_embeddings().weight.equal(untied.get_input_embeddings().weight[kept])
    assert numbers["relative_difference"] <= 1e-5


def test_a_matrix_with_more_rows_than_tokens_loses_the_padding(model_of, trimmed, tmp_path):
    source = tmp_path / "padded"
    shutil.copytree(model_of("xlmr"), source)
    model = load_model(source)
    tokens = model.config.vocab_size
    model.resize_token_embeddings(tokens + 35)
    model.save_pretrained(source)
    out, numbers = trimmed(source, size=100)
    assert numbers["rows_before"] == tokens + 35 and numbers["rows_after"] == 105 == load_model(out).config.vocab_size


@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
def test_a_fine_tuned_model_keeps_its_head(model_of, trimmed, tmp_path, auto):
    source = tmp_path / "fine-tuned"
    shutil.copytree(model_of("xlmr"), source)
    auto.from_pretrained(model_of("xlmr"), num_labels=3).save_pretrained(source)
    out, numbers = trimmed(source, text=SWAHILI, size=10_000)
    assert numbers["relative_difference"] <= 1e-5 and numbers["compared_lines"] > 0
    assert load_model(out).config.num_labels == 3 and type(load_model(out)) is type(load_model(source))


def test_a_bare_encoder_and_half_precision_stay_what_they_are(model_of, trimmed, tmp_path):
    source = tmp_path / "bare"
    shutil.copytree(model_of("bert"), source)
    config = load_model(source).config
    BertModel(config).half().save_pretrained(source)
    out, numbers = trimmed(source, text=SWAHILI, size=10_000)
    assert all(t.dtype == torch.float16 for t in load_file(out / "model.safetensors").values())
    assert type(load_model(out)).__name__ == "BertModel" and numbers["relative_difference"] <= 1e-5


def test_casing_lengths_and_generation_settings_survive(model_of, trimmed, tmp_path):
    source = tmp_path / "cased"
    shutil.copytree(model_of("bert"), source)
    (source / "generation_config.json").write_text(json.dumps({"pad_token_id": 0, "eos_token_id": [3, 2], "top_k": 7}))
    out, _ = trimmed(source, size=130)
    assert plain(out).normalizer.lowercase is False and load_tokenizer(out).model_max_length == 64
    assert json.loads((out / "generation_config.json").read_text()) == {
        "pad_token_id": 0,
        "eos_token_id": [3, 2],
        "top_k": 7,
    }
    uncased, _ = trimmed(model_of("bert_uncased"), name="uncased", size=130)
    assert plain(uncased).normalizer.lowercase is True
    assert encode(plain(uncased), ["WATOTO"]) == encode(plain(uncased), ["watoto"])


def test_a_source_with_only_a_sentencepiece_model_gets_both_files(model_of, trimmed, tmp_path):
    source = tmp_path / "proto"
    shutil.copytree(model_of("xlmr"), source)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (source / name).unlink()
    out, numbers = trimmed(source, size=100)
    assert (out / "tokenizer.json").is_file() and numbers["other_files_equal"] == 1.0
    import sentencepiece

    proto = sentencepiece.SentencePieceProcessor(model_file=str(out / "sentencepiece.bpe.model"))
    for line in pico.TEXT[:9]:
        ids = [3 if i == 0 else i + 1 for i in proto.encode(line)]
        assert ids == encode(plain(out), [line])[0]


def test_a_vocabulary_that_names_no_unknown_token_is_trimmed_too(model_of, trimmed, tmp_path):
    source = tmp_path / "unnamed"
    shutil.copytree(model_of("xlmr"), source)
    (source / "sentencepiece.bpe.model").unlink()
    document = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    del document["model"]["unk_id"]
    (source / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    out, numbers = trimmed(source, size=100)
    assert numbers["valid"] and encode(plain(out), pico.TEXT[:9])


def test_a_vocab_txt_alone_is_enough(model_of, trimmed, tmp_path):
    source = tmp_path / "vocab"
    shutil.copytree(model_of("bert"), source)
    tokens = load_tokenizer(source).convert_ids_to_tokens(range(len(load_tokenizer(source))))
    (source / "vocab.txt").write_text("".join(f"{p}\n" for p in tokens), encoding="utf-8")
    (source / "tokenizer.json").unlink()
    out, numbers = trimmed(source, size=130)
    written = (out / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert written == load_tokenizer(out).convert_ids_to_tokens(range(135)) and numbers["other_files_equal"] == 1.0


def test_vocab_json_and_merges_are_trimmed_alike(model_of, trimmed, tmp_path):
    source = tmp_path / "merges"
    shutil.copytree(model_of("roberta"), source)
    model = json.loads((source / "tokenizer.json").read_text())["model"]
    (source / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"])
    (source / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges), encoding="utf-8")
    (source / "tokenizer.json").unlink()
    out, numbers = trimmed(source, size=330)
    assert numbers["other_files_equal"] == 1.0
    written = (out / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert json.loads((out / "tokenizer.json").read_text())["model"]["vocab"] == json.loads(
        (out / "vocab.json").read_text()
    )
    assert 0 < len(written) < len(model["merges"])
