"""What docs/papers.md says of the sweeps is made from their newest runs, as the files say now, with the common intervals."""

import json
from pathlib import Path

import pytest

from ndogo import papers, papers_page
from ndogo.evaluation import EvaluationSettings
from ndogo.registry.bundles import open_store
from ndogo.registry.recipes import recipe, sweep_names
from ndogo.steps.sweep import Sweep, SweepSize, arms
from ndogo.tasks.run_record import EvaluationNote, RunRecord, StepNote, StepNumbers
from tests.evaluation.test_effects import quality
from tests.tasks.test_comparison import scored

SMALL = SweepSize(languages=("swahili",), tokens=100, judging=EvaluationSettings(seeds=(1,)))
ASKED = Sweep(
    name="asked",
    paper="p",
    question="q",
    claim="c",
    base="trim-only",
    arms={"large": {}, "small": {"trim.size": 10000}},
    better=(("large", "small"),),
    small=SMALL,
    full=SMALL,
)


def ran(arm: str, bits: float, right: int, asked: Sweep = ASKED, **changed: object) -> None:
    """A finished run of an arm, in the store."""
    store, evaluations = open_store(), {}
    for step, found in (("trim", scored(right)), ("original", scored(100))):
        one = found.model_copy(update={"language_model": quality(bits if step == "trim" else 1.0, seed=len(step))})
        key = f"{arm}-{bits}-{step}"
        store.write_record("evaluations", key, one)
        evaluations[step] = EvaluationNote(key=key, metrics={}, problems={})
    sizes = dict.fromkeys(("params", "params_encoder", "params_embedding"), 2_000_000)
    numbers = StepNumbers(**sizes, size_mb=8.0, seconds=1, compression_ratio=2, reduction_percent=50)
    record = {
        "id": f"{arm}-{bits}",
        "name": arm,
        "language": "swahili",
        "profile": "local",
        "recipe": f"asked-{arm}",
        "recipe_text": arms(asked, asked.small, recipe)[arm].text,
        "run": {"settings": asked.small.judging.model_dump(mode="json"), "token_cap": asked.small.tokens},
        "seed": 0,
        "scaled": True,
        "model_name": "",
        "commit": "0123456789",
        "last": "trim",
        "state": "COMPLETED",
        "steps": {"original": StepNote(), "trim": StepNote(kind="trim", key=f"trim-{arm}", numbers=numbers)},
        "evaluations": evaluations,
        "started": 60.0,
        "finished": 120.0 + bits,
    }
    store.write_record("runs", f"{arm}-{bits}", RunRecord.model_validate(record | changed))


def test_an_answer_is_there_when_every_run_is_and_it_is_of_the_newest():
    ran("large", 3.0, 90)
    assert papers._answer(open_store(), ASKED) is None
    ran("small", 2.0, 80)
    ran("small", 9.0, 10, state="FAILED")
    assert papers._answer(open_store(), ASKED).pairs[0].verdict == "other direction", "3 bits are worse than 2"
    ran("large", 1.5, 90, finished=900.0)
    answer = papers._answer(open_store(), ASKED)
    (pair,) = answer.pairs
    assert pair.verdict == "same direction" and pair.interval[0] < 0.5 < pair.interval[1]
    assert [arm.retention for arm in answer.arms] == pytest.approx([0.9, 0.8]) and answer.minutes == 14.0
    assert answer.arms[0].saved == pytest.approx(-0.5, abs=0.05) and answer.keys == ("trim-large", "trim-small")
    assert (
        papers._answer(open_store(), ASKED.model_copy(update={"small": SMALL.model_copy(update={"tokens": 7})})) is None
    )


def test_a_claim_on_heads_that_nothing_taught_goes_by_the_benchmarks():
    asked = ASKED.model_copy(update={"by": "score"})
    ran("large", 9.0, 95)
    ran("small", 2.0, 60)
    (pair,) = papers._answer(open_store(), asked).pairs
    assert pair.verdict == "same direction" and pair.difference == pytest.approx(35)


@pytest.mark.parametrize(
    ("interval", "said"), [((0.1, 0.3), "same direction"), ((-0.1, 0.3), "undecided"), ((-2, -1), "other direction")]
)
def test_a_verdict_is_by_the_interval(interval: tuple[float, float], said: str):
    assert papers.verdict(interval) == said


def test_the_loss_is_set_against_the_text_of_the_languages():
    names = ("a", "b", "c", "d", "e", "f")
    ran("large", 2.0, 90)
    ran("small", 3.0, 90)
    (arm, _) = papers._answer(open_store(), ASKED).arms
    rising = [arm.model_copy(update={"language": name, "saved": -1 / at}) for at, name in enumerate(names, 1)]
    text = {name: float(at) for at, name in enumerate(names, 1)}
    found = papers._follows(rising, text)
    assert (found.difference, found.verdict) == (1.0, "same direction")
    falling = {name: 9 - at for name, at in text.items()}
    assert papers._follows(rising, falling).verdict == "other direction"


def test_what_is_kept_stays_and_the_page_and_pictures_are_made_of_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(papers, "KEPT", tmp_path / "results" / "papers.json")
    monkeypatch.setattr(papers_page, "IMAGES", tmp_path / "img")
    ran("large", 2.0, 90)
    ran("small", 3.0, 60)
    answer = papers._answer(open_store(), ASKED)
    name = "two-step-depth"
    papers.KEPT.parent.mkdir()
    papers.KEPT.write_text(json.dumps({name: answer.model_dump(mode="json")}))
    assert papers.keep() == [] and papers.kept() == {name: answer}
    table = papers_page.shown("table").splitlines()
    assert (
        len(table) == 2 + len(sweep_names()) and sum("| not run |" in line for line in table) == len(sweep_names()) - 1
    )
    (row,) = (line for line in table if line.startswith(f"| `{name}`"))
    assert "large over small +1.0" in row and row.endswith("| **same direction** |")
    assert "1 sweeps below asked for 2 step runs and made 2" in papers_page.shown("steps")
    assert "90.0% [" in papers_page.shown("answers")
    papers_page.draw()
    assert [file.name for file in (tmp_path / "img").iterdir()] == [], "no picture of what was not asked"
    papers.KEPT.write_text(json.dumps({papers_page.TOKENS: answer.model_dump(mode="json")}))
    papers_page.draw()
    assert (tmp_path / "img" / "papers-tokens.png").read_bytes().startswith(b"\x89PNG")
    assert papers_page.shown("pictures").endswith("(img/papers-tokens.png)")
