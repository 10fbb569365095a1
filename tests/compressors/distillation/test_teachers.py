"""A teacher in the student's vocabulary."""

import pytest
import torch

from ndogo.compressors.distillation.teachers import restrict
from ndogo.core.errors import NdogoError
from ndogo.core.models import load_model, load_tokenizer


def test_a_trimmed_student_learns_from_the_untrimmed_teacher(pico_model, tmp_path):
    source = pico_model("bert")
    tokenizer = load_tokenizer(source)
    kept = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    kept = kept[:5] + kept[5:][::-3]  # specials first, then every third, in another order
    (tmp_path / "vocab.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
    ours = type(tokenizer)(vocab=str(tmp_path / "vocab.txt"), do_lower_case=False)
    assert ours.get_vocab() == {token: row for row, token in enumerate(kept)}
    whole, cut = load_model(source), restrict(load_model(source), tokenizer, ours)
    ids = torch.tensor([[2, 9, 30, 17, 3]])
    same = torch.tensor([[tokenizer.get_vocab()[kept[row]] for row in ids[0].tolist()]])
    rows = [tokenizer.get_vocab()[token] for token in kept]
    torch.testing.assert_close(cut(input_ids=ids).logits, whole(input_ids=same).logits[..., rows])


def test_a_student_with_foreign_tokens_is_refused(pico_model):
    with pytest.raises(NdogoError, match="do not share a vocabulary"):
        restrict(load_model(pico_model("bert")), *(load_tokenizer(pico_model(f)) for f in ("bert", "roberta")))
