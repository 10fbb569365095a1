"""Bits per byte against values computed by hand, with models whose every probability is known."""

import json
import math
import random
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

from ndogo.core.errors import NdogoError
from ndogo.evaluation.language_model import (
    _queries,
    code_lengths,
    dropped_columns,
    language_model_quality,
    measured,
    retained_columns,
)
from ndogo.evaluation.overlap import refuse_overlap
from ndogo.evaluation.settings import LanguageModelSettings
from ndogo.evaluation.words import Word, draw_words

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ALL = LanguageModelSettings(lines=50, words=50, threads=1)


def quality(path, line, training="ab cd ab cd cd", dropped=0.0):
    """Of a line, after training text of 1,000 words; one number of tokens for all words costs next to nothing."""
    return language_model_quality(path, lambda: iter([line]), [lambda: iter([training] * 200)], ALL, dropped=dropped)


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
    found = quality(whole, "ab ab ab")
    # three words of 2 bits each; 8 bytes with the two spaces
    assert found.bits_per_byte == pytest.approx(6 / 8, abs=1e-3)
    assert (found.tokens, found.words, found.bytes) == (3, 3, 8)
    split = known_model(tmp_path / "split", {"a": 1 / 2, "##b": 1 / 2})
    assert quality(split, "ab ab ab", "ab ab ab ab").bits_per_byte == pytest.approx(found.bits_per_byte, abs=1e-3)


class Exact(torch.nn.Module):
    """The best model there can be of words drawn one by one: it knows the probability of each, and sees its masks.

    Every word ends in z, so that what is shown says where the masked one begins.
    """

    def __init__(self, tokenizer, words):
        super().__init__()
        self.device = torch.device("cpu")
        self.tokenizer = tokenizer
        self.config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=512)
        self.known = {tuple(tokenizer.encode(word, add_special_tokens=False)): p for word, p in words.items()}
        self.base_model = torch.nn.Module()
        self.base_model.forward = self.states

    def states(self, input_ids, attention_mask=None):
        """Log-probabilities in the place of hidden states: the head has nothing left to do."""
        logs = torch.full((*input_ids.shape, len(self.tokenizer)), -1e4)
        for row, ids in enumerate(input_ids.tolist()):
            place, masks = ids.index(self.tokenizer.mask_token_id), ids.count(self.tokenizer.mask_token_id)
            begun = place
            while not self.tokenizer.convert_ids_to_tokens(ids[begun - 1]).endswith(("z", "[CLS]")):
                begun -= 1
            shown = tuple(ids[begun:place])
            for tokens, p in self.known.items():
                if len(tokens) == len(shown) + masks and tokens[: len(shown)] == shown:
                    at = (row, place, tokens[len(shown)])
                    logs[at] = torch.logaddexp(logs[at], torch.tensor(math.log(p)))
        return BaseModelOutput(last_hidden_state=logs)

    def forward(self, **inputs):
        return SimpleNamespace(logits=self.base_model(**inputs).last_hidden_state)


def pieces(vocabulary):
    """A WordPiece tokenizer of just these tokens."""
    ids = {piece: i for i, piece in enumerate([*SPECIALS, *vocabulary])}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=backend, model_max_length=512)


def test_two_exact_models_of_one_language_score_alike_whatever_their_vocabulary():
    """One by whole words, one by characters. Without the code length of the numbers of tokens they lie far apart."""
    draw = random.Random(0)
    lexicon = sorted({"".join(draw.choices("abcde", k=draw.randint(1, 7))) + "z" for _ in range(80)})
    shares = [1 / (rank + 3) for rank in range(len(lexicon))]
    draw.shuffle(lexicon)
    words = {word: share / sum(shares) for word, share in zip(lexicon, shares, strict=True)}
    lines = [" ".join(draw.choices(lexicon, shares, k=8)) for _ in range(1_300)]
    asked, training = draw_words(lines[:300], LanguageModelSettings(lines=300, words=4, threads=1)), lines[300:]
    letters = [f"{mark}{letter}" for mark in ("", "##") for letter in "abcdez"]
    found = []
    for tokenizer in (pieces(lexicon), pieces(letters)):
        found.append(measured(Exact(tokenizer, words), tokenizer, asked, code_lengths(tokenizer, training)))
    by_words, by_letters = found
    assert by_words.bits_per_byte == pytest.approx(by_letters.bits_per_byte, abs=0.02)
    assert by_words.token_counts_bits_per_byte < 0.01 < 0.3 < by_letters.token_counts_bits_per_byte
    assert by_letters.tokens > 3 * by_words.tokens


def test_the_number_of_tokens_is_coded_without_looking_at_the_bytes(pico_model):
    """A proper distribution over all numbers, of the tokenizer's own words: never seen costs much, and not infinitely."""
    from transformers import AutoTokenizer

    code = code_lengths(AutoTokenizer.from_pretrained(pico_model("xlmr")), ["Mtoto anasoma kitabu"] * 50)
    assert sum(2 ** -code.bits(n) for n in range(60)) == pytest.approx(1.0)
    assert code.bits(40) > 30 and min(code.words) >= 1 and code.words.total() == 150


def test_a_words_pieces_are_shown_one_after_the_other_and_other_words_always(pico_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pico_model("xlmr"))
    line = "Mtoto anatengenezewa kitabu"
    ids = tokenizer(line)["input_ids"]
    start = line.index(" anaten")
    queries = _queries([Word(line, start, line.index(" kitabu"))], tokenizer)
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
    columns = retained_columns(student, teacher)
    assert columns == kept and retained_columns(teacher, student) == []
    dropped = dropped_columns(teacher, columns, lambda: iter(["ab cd ab"]), ALL)
    # half of the teacher's mass is on the dropped column: one bit per piece, three pieces, eight bytes
    assert dropped == pytest.approx(3 / 8)
    found, whole = quality(student, "ab cd ab", dropped=dropped), quality(teacher, "ab cd ab")
    assert found.dropped_columns_bits_per_byte == dropped and whole.dropped_columns_bits_per_byte == 0
    assert found.bits_per_byte == pytest.approx(whole.bits_per_byte), "trimming alone made no better model"


def test_a_map_to_another_model_is_not_taken_for_a_trim(tmp_path):
    other = known_model(tmp_path / "other", {"cd": 1 / 4, "zz": 1 / 2, "ab": 1 / 4})
    student = known_model(tmp_path / "student", {"ab": 1 / 2, "cd": 1 / 2})
    (student / "old_to_new.json").write_text(json.dumps({"old_to_new": {"5": 5, "7": 6}}))
    assert retained_columns(student, other) == []


def test_unknown_pieces_are_charged_their_bytes_and_never_right(tmp_path):
    model = known_model(tmp_path / "m", {"ab": 1 / 2, "cd": 1 / 2})
    found = quality(model, "qq")
    assert found.words_with_unknown_tokens == 1.0 and found.word_accuracy == 0.0
    assert found.bits_per_byte > 8


def test_a_word_is_right_when_every_piece_is_the_best_guess(tmp_path):
    model = known_model(tmp_path / "m", {"ab": 2 / 3, "cd": 1 / 3})
    assert quality(model, "ab cd ab ab").word_accuracy == 3 / 4


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
        quality(tmp_path, "habari")
    with pytest.raises(NdogoError, match="the model takes 64"):
        quality(pico_model("bert"), "q w e r t y u i o p " * 10)


def test_scoring_a_line_of_the_training_text_is_refused(tmp_path):
    model = known_model(tmp_path / "m", {"ab": 2 / 3, "cd": 1 / 3})
    with pytest.raises(NdogoError, match="occurs in the training text"):
        language_model_quality(model, lambda: iter(["ab cd"]), [lambda: iter(["x", "AB, cd!"])], ALL)
