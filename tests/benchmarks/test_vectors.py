"""The race of small embedding models: its rivals are as large as ours and learn alike, and it runs to its end."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import vectors
from ndogo.evaluation import EvaluationSettings
from ndogo.evaluation.vectors import VectorTexts
from ndogo.registry.corpora import corpus
from ndogo.registry.recipes import recipe
from ndogo.registry.teachers import teacher
from ndogo.steps.plan import Facts, plan
from ndogo.steps.recipe import Recipe
from ndogo.steps.training import Training
from tests import pico, tiny

OWN = {"id", "student", "teacher", "objective", "tokens", "mask_probability", "teacher_outputs", "seed_offset"}
"""What of a training is an arm's own; output distributions are learnt at masked words."""


def trainings(of: Recipe) -> list[Training]:
    return [step for step in of.steps if isinstance(step, Training) and step.kind == "distil"]


def recipe_of(arm: str) -> Recipe:
    return recipe(arm if arm == vectors.OURS else str(vectors.RIVALS / f"{arm}.yaml"))


@pytest.mark.parametrize("arm", vectors.ARMS[1:])
def test_a_rival_has_our_rows_and_size_and_reads_as_much_in_the_same_way(arm: str) -> None:
    guide = teacher("multilingual-e5-small")
    ours, rival = recipe_of(vectors.OURS), recipe_of(arm)
    facts = Facts(guide.pooler, None, guide.tokenizer_bytes)
    one, other = (plan(found, guide.config, guide.specials, facts=facts)[-1] for found in (ours, rival))
    assert other.shape.vocab == one.shape.vocab and other.params == pytest.approx(one.params, rel=0.04)
    (taught,) = trainings(ours)
    assert sum(step.tokens or 0 for step in trainings(rival)) == taught.tokens
    for step in trainings(rival):
        assert step.model_dump(exclude=OWN) == taught.model_dump(exclude=OWN)


def test_every_rival_is_in_the_race() -> None:
    assert {file.stem for file in vectors.RIVALS.glob("*.yaml")} == set(vectors.ARMS) - {vectors.OURS}


@pytest.mark.parametrize(("asked", "live"), [(None, ()), ([], vectors.ARMS), (["vectors-mha"], ("vectors-mha",))])
def test_the_arms_that_are_named_ask_the_teacher_at_every_step(asked: list[str] | None, live: tuple[str, ...]) -> None:
    asks = Namespace(tokens=None, batch_tokens=None, arms=list(vectors.ARMS), live=asked)
    found = vectors.Race(Path(), corpus("swahili", "pocket"), [], VectorTexts((), ()), EvaluationSettings(), asks)
    outputs = {arm: trainings(found.recipe(arm))[-1].teacher_outputs for arm in vectors.ARMS}
    as_in_file = {arm for arm in vectors.ARMS if trainings(found.recipe(arm)) == trainings(recipe_of(arm))}
    assert {arm for arm, told in outputs.items() if told == "live"} >= set(live)
    assert as_in_file >= set(vectors.ARMS) - set(live)


def test_it_races_on_a_bare_encoder_and_finds_it_all_again(
    pico_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    text, rows = tiny.write(tmp_path / "tiny")
    guide = pico.embedder(pico_model("xlmr"), tmp_path / "teacher")
    monkeypatch.setenv("NDOGO_DATA", str(data))
    (data / "text").mkdir(parents=True)
    (data / "text" / "swa.txt").write_text(Path(text).read_text())
    for folder in Path(rows).iterdir():
        (data / "tasks" / folder.name).mkdir(parents=True)
        (folder).rename(data / "tasks" / folder.name / "swa")
    page = tmp_path / "page.md"
    page.write_text("<!-- race: swahili -->\n<!-- end: race: swahili -->\n")
    asked = [str(guide), "swahili", "--out", str(tmp_path / "out"), "--tokens", "400", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", ["vectors", *asked, "--arms", vectors.OURS, "vectors-two-step", "--live"])
    vectors.main()
    first = page.read_text()
    rows_of = {line.split("`")[1]: line for line in first.splitlines() if line.startswith("| `")}
    assert set(rows_of) == {vectors.OURS, "vectors-two-step", "original", "trimmed", "static", "static-taught"}
    assert "100.0 [100.0, 100.0]" in rows_of["original"] and "minutes" in first.splitlines()[1]
    capsys.readouterr()
    vectors.main()
    assert page.read_text() == first and "processor time" not in capsys.readouterr().out
    spent = [json.loads(file.read_text()) for file in (tmp_path / "out" / "models").glob("*/spent.json")]
    assert len(spent) == 11  # trim, cuts and a training; a head, half, two trainings and two cuts
