"""Special tokens are counted as transformers counts them, without the words."""

import gzip
import json
import shutil
import time

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from ndogo.core.errors import NdogoError
from ndogo.core.models import load_tokenizer
from ndogo.core.specials import count_specials


def whole(folder):
    return len(set(load_tokenizer(folder).all_special_ids))


def test_every_family_has_as_many_as_its_whole_tokenizer(any_pico):
    assert count_specials(any_pico) == whole(any_pico)


def test_specials_of_any_look_and_added_ones_count(pico_model, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(pico_model("xlmr"), folder)
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["%%", "<lang:swa>"], "cls_token": "START"})
    tokenizer.save_pretrained(folder)
    assert count_specials(folder) == whole(folder) == whole(pico_model("xlmr")) + 3


def test_a_large_vocabulary_costs_its_reading_alone(tmp_path):
    words = {token: row for row, token in enumerate(["[UNK]", "[PAD]", "[MASK]", *(f"w{n}" for n in range(200_000))])}
    backend = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **named).save_pretrained(tmp_path)
    started = time.process_time()
    assert count_specials(tmp_path) == 3
    small = time.process_time() - started
    started = time.process_time()
    assert whole(tmp_path) == 3
    assert small < time.process_time() - started


def test_no_tokenizer_and_a_broken_one_are_refused(tmp_path):
    with pytest.raises(NdogoError, match="tokenizer cannot be loaded") as refused:
        count_specials(tmp_path)
    assert refused.value.where == str(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(NdogoError, match="tokenizer cannot be loaded"):
        count_specials(tmp_path)


@pytest.mark.parametrize("name", ["modernbert-base", "multilingual-e5-small"])
def test_real_tokenizers(name, shared, tmp_path):
    folder = shared / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip("not here")
    for file in folder.iterdir():
        if file.suffix == ".gz":
            (tmp_path / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        else:
            shutil.copyfile(file, tmp_path / file.name)
    assert count_specials(tmp_path) == whole(tmp_path)
