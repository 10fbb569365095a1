"""Bits per byte against values computed by hand, with models whose every probability is known."""

import json
import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from ndogo.core.errors import NdogoError
from ndogo.evaluation.language_model import _queries, _Word, draw_words, language_model_quality, refuse_overlap
from ndogo.evaluation.settings import LanguageModelSettings

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ALL = LanguageModelSettings(lines=50, words=50, threads=1)


def known_model(path, probabilities):
    """A BERT that guesses each piece with a fixed probability whatever it sees; pieces are WordPiece."""
    vocabulary = {piece: i for i, piece in enumerate([*SPECIALS, *probabilities])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    BertTokenizerFast(tokenizer_object=backend, model_max_length=64).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=64,
    )
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.cls.predictions.bias.fill_(-200.0)
        for piece, probability in probabilities.items():
            model.cls.predictions.bias[vocabulary[piece]] = math.log(probability)
    model.save_pretrained(path)
    return path


def test_bits_per_byte_are_the_same_for_two_vocabularies_of_the_same_distribution(tmp_path):
    whole = known_model(tmp_path / "whole", {"ab": 1 / 4, "cd": 3 / 4})
    split = known_model(
        tmp_path / "split", {"a": 1 / 4, "##b": 1 / 2, "c": 1 / 4, "##d": 1 / 2, "cd": 3 / 4 * 0 + 1e-9}
    )
    text = ["ab ab ab"]
    found = language_model_quality(whole, lambda: iter(text), ALL)
    # three words of 2 bits each; 8 bytes with the two spaces
    assert found.bits_per_byte == pytest.approx(6 / 8)
    assert (found.tokens, found.words, found.bytes) == (3, 3, 8)
    split = known_model(tmp_path / "split", {"a": 1 / 2, "##b": 1 / 2})
    assert language_model_quality(split, lambda: iter(text), ALL).bits_per_byte == pytest.approx(found.bits_per_byte)


def test_a_words_pieces_are_shown_one_after_the_other_and_other_words_always(pico_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pico_model("xlmr"))
    line = "Mtoto anatengenezewa kitabu"
    ids = tokenizer(line)["input_ids"]
    start = line.index(" anaten")
    queries = _queries([_Word(line, start, line.index(" kitabu"))], tokenizer)
    assert len(queries) > 2
    places = [query.position for query in queries]
    assert places == list(range(places[0], places[-1] + 1))
    assert tokenizer.decode([query.answer for query in queries]).strip() == "anatengenezewa"
    for number, query in enumerate(queries):
        for place, piece in enumerate(query.ids):
            hidden = place in places[number:]
            assert piece == (tokenizer.mask_token_id if hidden else ids[place])


@pytest.mark.parametrize("family", ["xlmr", "bert", "distilbert", "roberta", "modernbert", "eurobert"])
def test_every_piece_of_a_line_belongs_to_one_word(family, pico_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pico_model(family))
    line = "Watoto wadogo 2026, (wanacheza) ẹ kú iṣẹ́ o! ~"
    words = draw_words([line], ALL)
    asked = sorted(query.position for query in _queries(words, tokenizer))
    pieces = tokenizer(line, return_special_tokens_mask=True)
    inner = range(1, len(pieces["input_ids"]) - 1)
    assert asked == list(inner)
    assert sum(word.bytes for word in words) == len(line.encode())


def test_the_head_on_the_asked_place_equals_the_head_on_all_places(any_pico):
    from ndogo.core.models import load_model
    from ndogo.evaluation.language_model import _logits_at

    model = load_model(any_pico)
    ids = torch.randint(5, 100, (3, 9), generator=torch.Generator().manual_seed(0))
    places = torch.tensor([1, 4, 7])
    with torch.inference_mode():
        whole = model(input_ids=ids).logits[torch.arange(3), places]
        torch.testing.assert_close(_logits_at(model, {"input_ids": ids}, places), whole)
        torch.testing.assert_close(model(input_ids=ids).logits[torch.arange(3), places], whole)


def test_what_dropped_columns_give_is_shown_apart(tmp_path):
    teacher = known_model(tmp_path / "teacher", {"ab": 1 / 4, "zz": 1 / 2, "cd": 1 / 4})
    student = known_model(tmp_path / "student", {"ab": 1 / 2, "cd": 1 / 2})
    kept = [*range(5), 5, 7]
    (student / "old_to_new.json").write_text(
        json.dumps({"old_to_new": {str(old): new for new, old in enumerate(kept)}})
    )
    found = language_model_quality(student, lambda: iter(["ab cd ab"]), ALL, teacher_dir=teacher)
    # half of the teacher's mass is on the dropped column: one bit per piece, three pieces, eight bytes
    assert found.dropped_columns_bits_per_byte == pytest.approx(3 / 8)
    assert found.teacher.bits_per_byte == pytest.approx(6 / 8)
    assert found.bits_per_byte + found.dropped_columns_bits_per_byte == pytest.approx(found.teacher.bits_per_byte)


def test_unknown_pieces_are_charged_their_bytes_and_never_right(tmp_path):
    model = known_model(tmp_path / "m", {"ab": 1 / 2, "cd": 1 / 2})
    found = language_model_quality(model, lambda: iter(["qq"]), ALL)
    assert found.words_with_unknown_tokens == 1.0 and found.word_accuracy == 0.0
    assert found.bits_per_byte > 8


def test_a_word_is_right_when_every_piece_is_the_best_guess(tmp_path):
    model = known_model(tmp_path / "m", {"ab": 2 / 3, "cd": 1 / 3})
    assert language_model_quality(model, lambda: iter(["ab cd ab ab"]), ALL).word_accuracy == 3 / 4


def test_every_model_is_asked_the_same_words_and_no_more_than_the_settings_say():
    lines = [f"neno {i} la {i * 7} mwisho" for i in range(500)] + ["x" * 1000]
    settings = LanguageModelSettings(lines=20, words=2, seed=3)
    words = draw_words(lines, settings)
    assert len(words) == 40 and words == draw_words(iter(lines), settings)
    assert len({word.line for word in words}) == 20
    assert words != draw_words(lines, settings.model_copy(update={"seed": 4}))
    with pytest.raises(NdogoError, match="no line of at most 300 bytes"):
        draw_words(["x" * 301, " "], settings)


def test_a_held_out_line_in_the_training_text_is_refused():
    held = ["Habari ya leo ni njema.", "Kesho tutaonana."]
    assert refuse_overlap(lambda: iter(held), [lambda: iter(["Jana ilikuwa siku nzuri."])]) == 2
    with pytest.raises(NdogoError, match="occurs in the training text") as refused:
        refuse_overlap(lambda: iter(held), [lambda: iter(["a"]), lambda: iter(["b", "kesho  tutaonana"])])
    assert refused.value.where == "training text 2, line 2"


def test_a_model_without_a_head_and_a_line_too_long_are_refused(tmp_path, pico_model):
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(pico_model("bert")).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(pico_model("bert")).save_pretrained(tmp_path)
    with pytest.raises(NdogoError, match="no masked-LM head"):
        language_model_quality(tmp_path, lambda: iter(["habari"]), ALL)
    with pytest.raises(NdogoError, match="the model takes 64"):
        language_model_quality(pico_model("bert"), lambda: iter(["q w e r t y u i o p " * 10]), ALL)


def test_scoring_a_line_of_the_training_text_is_refused(tmp_path):
    model = known_model(tmp_path / "m", {"ab": 2 / 3, "cd": 1 / 3})
    with pytest.raises(NdogoError, match="occurs in the training text"):
        language_model_quality(model, lambda: iter(["ab cd"]), ALL, training=[lambda: iter(["x", "AB, cd!"])])
