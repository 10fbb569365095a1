"""Sentence vectors are judged by what is known of the texts: which is whose translation, which lines are near, which topic."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from ndogo.core.sentences import Vectors, write_modules
from ndogo.evaluation import checked
from ndogo.evaluation.encoder import Encoder, load_encoder
from ndogo.evaluation.static import static_encoder, taught_static
from ndogo.evaluation.vectors import Embedder, Parallel, VectorTexts, judge_vectors

WORDS = [f"{a}{b}" for a in ("mtoto", "shule", "soko", "mvua", "kitabu", "mwalimu") for b in ("", " wa", " na", " ya")]
LINES = tuple(f"{WORDS[n % 24]} {WORDS[n * 7 % 24]} {WORDS[n * 5 % 23]}" for n in range(60))


class Turned(torch.nn.Module):
    """An encoder whose states are another's times a matrix: narrower, turned, or with noise."""

    def __init__(self, model: PreTrainedModel, matrix: torch.Tensor) -> None:
        super().__init__()
        self.inner, self.matrix = model, matrix
        self.config = model.config

    @property
    def base_model(self) -> torch.nn.Module:
        return self.inner.base_model

    def forward(self, **inputs: Any) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.inner(**inputs).last_hidden_state @ self.matrix)


@pytest.fixture(scope="module")
def teacher(pico_model: Any) -> Path:
    return cast(Path, pico_model("xlmr"))


def texts_of(lines: tuple[str, ...] = LINES) -> VectorTexts:
    return VectorTexts(lines, lines, Parallel("other", (lines[:20], lines[:20]), (lines, lines)))


def turned(teacher: Path, matrix: torch.Tensor) -> Embedder:
    found = load_encoder(teacher)
    return Embedder(Encoder("turned", cast(PreTrainedModel, Turned(found.model, matrix)), found.tokenizer))


def width(teacher: Path) -> int:
    return int(load_encoder(teacher).model.config.hidden_size)


def test_a_teacher_finds_every_line_and_all_its_own_neighbours(teacher: Path) -> None:
    unique = tuple(dict.fromkeys(LINES))
    found = judge_vectors(teacher, teacher, texts_of(unique))
    assert found["retrieval"].mean == found["neighbours"].mean == 1.0
    assert found["neighbours"].others["spearman"].mean == pytest.approx(1.0)
    assert found["retrieval"].others["hubness"].mean == pytest.approx(1 / len(unique))
    assert found["retrieval"].chosen == {"mapped": 0.0} and found["retrieval"].dev == [1.0]


def test_vectors_of_another_width_are_mapped_into_the_teachers_space(teacher: Path) -> None:
    torch.manual_seed(0)
    narrow = turned(teacher, torch.randn(width(teacher), width(teacher) // 2))
    found = judge_vectors(narrow, teacher, texts_of())
    assert found["retrieval"].chosen == {"mapped": 1.0}
    assert found["retrieval"].mean > 0.9


def test_a_turned_space_of_the_same_width_is_taken_as_it_is(teacher: Path) -> None:
    torch.manual_seed(0)
    rotation, _ = torch.linalg.qr(torch.randn(width(teacher), width(teacher)))
    found = judge_vectors(turned(teacher, rotation), teacher, texts_of())
    assert found["retrieval"].chosen == {"mapped": 0.0}
    assert found["retrieval"].mean < 0.5, "an index of the teacher's vectors would not work either"
    assert found["neighbours"].others["spearman"].mean == pytest.approx(1.0, abs=1e-4)  # a rotation keeps all angles


def test_vectors_that_say_nothing_find_nothing(teacher: Path) -> None:
    flat = turned(teacher, torch.full((width(teacher), width(teacher)), 1.0))
    found = judge_vectors(flat, teacher, texts_of(tuple(dict.fromkeys(LINES))))
    assert found["retrieval"].mean < 0.2
    assert found["retrieval"].others["hubness"].mean > 0.5


def test_the_nearest_topic_is_counted_by_row(teacher: Path) -> None:
    rows = [{"text": line, "label": "ab"[n % 2]} for n, line in enumerate(dict.fromkeys(LINES))]
    numbered = {split: [(f"{split} {n}", row) for n, row in enumerate(rows)] for split in ("train", "dev", "test")}
    topic = checked("topic", numbered)
    found = judge_vectors(teacher, teacher, VectorTexts(LINES, LINES, topic=topic))
    assert found["nearest_topic"].mean == 1.0  # each test row stands among the train rows
    assert "retrieval" not in found


def test_the_fingerprint_names_every_text() -> None:
    one = texts_of()
    others = [
        VectorTexts(LINES[1:], LINES, one.parallel),
        VectorTexts(LINES, LINES[1:], one.parallel),
        VectorTexts(LINES, LINES, None),
        VectorTexts(LINES, LINES, Parallel("other", ((), ()), (LINES, LINES))),
    ]
    assert len({texts.fingerprint() for texts in (one, *others)}) == 5


def test_static_vectors_do_not_see_what_stands_beside_a_word(teacher: Path) -> None:
    encoder = static_encoder(teacher, LINES, parameters=40 * width(teacher))
    assert sum(p.numel() for p in encoder.model.parameters()) <= 40 * width(teacher)
    ids = encoder.tokenizer("mtoto soko", return_tensors="pt")["input_ids"]
    there = encoder.model(input_ids=ids).last_hidden_state[0]
    back = encoder.model(input_ids=ids.flip(1)).last_hidden_state[0].flip(0)
    assert torch.equal(there, back)
    assert there.abs().sum() > 0 and there[0].abs().sum() == 0  # the special has no vector


def test_a_rare_token_weighs_more_than_a_frequent_one(teacher: Path) -> None:
    words = load_encoder(teacher).tokenizer
    lines = [*("mtoto" for _ in range(50)), "soko"]
    model = static_encoder(teacher, lines, parameters=10**6).model
    lengths = {w: float(model(input_ids=torch.tensor([words(w, add_special_tokens=False)["input_ids"]]))
               .last_hidden_state[0].norm(dim=-1).mean()) for w in ("mtoto", "soko")}  # fmt: skip
    assert lengths["soko"] > lengths["mtoto"]
    assert np.isfinite(list(lengths.values())).all()


def test_taught_static_vectors_are_nearer_to_the_teachers_lines(teacher: Path) -> None:
    lines = tuple(f"{line} {WORDS[n % 11]}" for n, line in enumerate(LINES * 4))
    texts, parameters = texts_of(lines[:60]), 200 * width(teacher)
    untaught, taught = (
        judge_vectors(Embedder(make(teacher, lines, parameters)), teacher, texts)
        for make in (static_encoder, taught_static)
    )
    assert taught["neighbours"].mean > untaught["neighbours"].mean + 0.05
    assert taught["retrieval"].mean > untaught["retrieval"].mean


def test_static_vectors_pass_through_the_teachers_dense_layers(teacher: Path, tmp_path: Path) -> None:
    folder = tmp_path / "teacher"
    shutil.copytree(teacher, folder)
    write_modules(folder, (torch.nn.Linear(width(teacher), 5),), Vectors(pooling="cls"))
    encoder = static_encoder(folder, LINES, parameters=40 * 5)
    assert encoder.model.config.hidden_size == 5 and not len(encoder.dense)


def test_the_rest_of_an_article_is_found_by_its_rank(teacher: Path) -> None:
    """A rest that is the first sentence again is found first; equal vectors, which tell nothing apart, find nothing."""
    own = tuple((line, line) for line in dict.fromkeys(LINES))
    found = judge_vectors(teacher, teacher, replace(texts_of(), articles=own))["articles"]
    assert found.mean == pytest.approx(1.0) and found.others["first"].mean == 1.0
    flat = turned(teacher, torch.zeros(width(teacher), width(teacher)))
    assert judge_vectors(flat, teacher, replace(texts_of(), articles=own))["articles"].mean == 0.0
    swapped = tuple((line, own[(n + 1) % len(own)][0]) for n, (line, _) in enumerate(own))
    worse = judge_vectors(teacher, teacher, replace(texts_of(), articles=swapped))["articles"]
    assert 0 < worse.mean < 0.7  # never first, since its own line is another article's rest
