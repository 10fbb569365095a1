"""What a head answers and how its labels are called: 200 of them, one, none named, or others than the head has."""

import json

import pytest
import torch
from transformers import PreTrainedModel

from ndogo.core.errors import NdogoError
from ndogo.core.models import copy_tokenizer, load_config, load_model, save
from ndogo.core.task_heads import answers_of, check_same_labels, labels_of
from tests.compressors.cases import answer, model_of


@pytest.fixture
def headed(pico_model, tmp_path):
    """`headed(kind, labels)`: a saved model whose head has so many labels."""

    def make(kind: str, labels: int, named: bool = True):
        config = model_of(pico_model("xlmr"), kind).config
        config.num_labels = labels
        if named:
            config.id2label = {n: f"aina-{n}" for n in range(labels)}
            config.label2id = {name: n for n, name in config.id2label.items()}
        torch.manual_seed(1)
        model: PreTrainedModel = type(model_of(pico_model("xlmr"), kind))(config)
        folder = tmp_path / f"{kind}-{labels}"
        save(model, folder)
        copy_tokenizer(pico_model("xlmr"), folder)
        return folder

    return make


@pytest.mark.parametrize(("kind", "said"), [("sequence", "text"), ("token", "token"), ("lm", None), ("bare", None)])
def test_the_class_says_what_a_head_answers(kind, said, headed):
    assert answers_of(load_config(headed(kind, 3))) == said


@pytest.mark.parametrize("kind", ["sequence", "token"])
@pytest.mark.parametrize("count", [1, 200])
def test_one_label_and_two_hundred_are_read(kind, count, headed):
    model = load_model(headed(kind, count))
    assert answer(model).shape[-1] == count and len(labels_of(model.config)) == count
    assert labels_of(model.config)[-1] == f"aina-{count - 1}"


@pytest.mark.parametrize("kind", ["sequence", "token"])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (None, r"The head has 9 labels, and id2label names 2 \(as it does where it is missing\)"),
        ({"0": "a", "1": "b", "2": "c"}, r"The head has 9 labels, and id2label names 3\."),
        ({str(n): "same" for n in range(9)}, "by a name of its own"),
        ({str(n + 1): f"aina-{n}" for n in range(9)}, "does not name the numbers from 0 on"),
        ({"O": 0}, "The configuration cannot be read"),
    ],
)
def test_names_that_do_not_fit_the_head_are_refused(kind, names, said, headed):
    folder = headed(kind, 9)
    raw = json.loads((folder / "config.json").read_text())
    raw.pop("label2id")
    raw |= {"id2label": names}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))
    with pytest.raises(NdogoError, match=said):
        labels_of(load_model(folder).config)


def test_a_head_of_two_labels_without_names_has_names_of_its_own(headed):
    assert labels_of(load_config(headed("sequence", 2, named=False))) == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (("lm", 2), ("token", 3), "the student is a XLMRobertaForMaskedLM"),
        (("token", 3), ("bare", 2), "the teacher is a XLMRobertaModel"),
        (("token", 3), ("token", 200), "aina-5 and 194 more"),
        (
            ("token", 3),
            ("sequence", 3),
            "an answer for each token, of aina-0, aina-1, aina-2, the teacher for each text",
        ),
    ],
)
def test_heads_that_do_not_answer_alike_are_refused(ours, theirs, said, headed):
    with pytest.raises(NdogoError, match=said):
        check_same_labels(load_config(headed(*ours)), load_config(headed(*theirs)), "This")


def test_heads_that_answer_alike_pass(headed):
    folder = load_config(headed("token", 3))
    assert check_same_labels(folder, folder, "This") is None
