"""Every sweep file asks a question whose arms can run: on the teacher of its paper, at both sizes."""

from pathlib import Path

import pytest
from transformers import XLMRobertaConfig

from ndogo.core.errors import NdogoError
from ndogo.registry.benchmarks import NAMES
from ndogo.registry.languages import language
from ndogo.registry.recipes import FOLDER, SWEEPS, recipe, sweep, write_arms
from ndogo.registry.teachers import teacher
from ndogo.run_commands import _swept
from ndogo.steps.plan import plan
from ndogo.steps.recipe import parse_recipe, read_recipe
from ndogo.steps.sweep import arms, read_sweep

TEACHERS = {"comet": "afro-xlmr-large", "tagalog": "bert-base-multilingual-cased"}
FILES = sorted((FOLDER / SWEEPS).glob("*.yaml"))
BASE = parse_recipe(
    "name: base\nsteps:\n  - adapt: {epochs: 1}\n  - truncate: {id: half, layers: 1/2}\n"
    "  - distil: {teacher: adapt, objective: {mlm: 1}, epochs: 2}"
)
SIZES = "small: {languages: [swahili]}\nfull: {languages: [swahili]}\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_arm_can_run_on_the_teacher_of_its_paper(file: Path) -> None:
    found = read_sweep(file)
    guide = teacher(TEACHERS.get(file.stem.split("-")[0], "xlm-roberta-base"))
    made = arms(found, found.small, recipe)
    plans = {name: plan(one, guide.config, guide.specials) for name, one in made.items()}
    assert all(rows[-1].params < rows[0].params for rows in plans.values())
    texts = {name: [step.model_dump_json() for step in one.steps] for name, one in made.items()}
    assert len({str(steps) for steps in texts.values()}) == len(made), "two arms are the same"
    for size in (found.small, found.full):
        for one in map(language, size.languages):
            there = {*NAMES, *(f"{name}_{member}" for name in NAMES for member in one.members)}
            assert there >= set(size.judging.benchmarks)
    assert found.small.tokens is not None, "what runs on two cores is bounded"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_arm_can_run_on_a_small_teacher(file: Path) -> None:
    """As large as the one of docs/papers.md."""
    sizes = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024}
    config = XLMRobertaConfig(
        vocab_size=24_000, max_position_embeddings=514, architectures=["XLMRobertaForMaskedLM"], **sizes
    )
    found = read_sweep(file)
    for one in arms(found, found.small, recipe).values():
        rows = plan(one, config, teacher("xlm-roberta-base").specials)
        assert rows[-1].params < rows[0].params


def test_the_four_papers_have_their_questions() -> None:
    papers = {read_sweep(file).paper for file in FILES}
    assert {paper[-11:-1] for paper in papers} == {"2502.18020", "2505.16956", "2501.12660", "2310.08797"}


def swept(tmp_path: Path, text: str) -> dict:
    file = tmp_path / "question.yaml"
    file.write_text(f"paper: p\nquestion: q\nclaim: c\n{SIZES}{text}", encoding="utf-8")
    asked = read_sweep(file)
    return arms(asked, asked.small, lambda _: BASE)


def test_an_arm_changes_deep_keys_and_leaves_steps_out(tmp_path: Path) -> None:
    made = swept(
        tmp_path,
        "base: base\narms:\n  same: {}\n  more: {distil.objective.mlm.weight: 0.5, distil.learning_rate: 0.1, "
        "distil.epochs: null, distil.steps: 3}\n  plain: {adapt: null, half.student: original, distil.teacher: original}\n",
    )
    assert [step.id for step in made["plain"].steps] == ["half", "distil"]
    distil = made["more"].step("distil")
    assert (distil.objectives["mlm"].weight, distil.learning_rate, distil.steps, distil.epochs) == (0.5, 0.1, 3, None)
    assert made["same"].name == "question-same" and made["same"].steps == BASE.steps


def test_an_arm_gives_the_place_of_a_step_to_another_and_every_training_has_the_rate_of_the_size(
    tmp_path: Path,
) -> None:
    fresh = "half: {fresh: {layers: 1/2, hidden: 1/1, ffn: 1/1, heads: 1/1}}"
    file = tmp_path / "question.yaml"
    sizes = SIZES.replace("small: {", "small: {learning_rate: 0.01, ")
    file.write_text(f"paper: p\nquestion: q\nclaim: c\n{sizes}base: base\narms:\n  random: {{{fresh}}}\n")
    asked = read_sweep(file)
    (small,), (full,) = (arms(asked, size, lambda _: BASE).values() for size in (asked.small, asked.full))
    assert [(step.kind, step.id) for step in small.steps] == [
        ("adapt", "adapt"),
        ("fresh", "half"),
        ("distil", "distil"),
    ]
    assert small.step("distil").student == "half"
    assert [one.step("distil").learning_rate for one in (small, full)] == [0.01, 5e-5]
    assert small.evaluate == "ends"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms: {a: {}, b: {}}", "There is no base to change"),
        ("base: base\narms: {a: {}, b: {hlf.layers: 1}}", "Did you mean half"),
        ("base: base\narms: {a: {}, b: {half: 3}}", "is a whole step"),
        ("base: base\narms: {a: {}, b: {half.layrs: 3}}", "Did you mean `layers`"),
        ("base: base\narms: {a: {}, b: {adapt: null}}", "adapt"),
        ("base: base\narms: {}", "at least 1"),
        ("base: base\narms: {a: {}, b: {adapt.epochs: 2}}\nbetter: [[a, c]]", "names `c`, which is no arm"),
        ("base: base\narms: {a: {}, 'B c': {}}", "should match pattern"),
        ("base: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NdogoError) as refused:
        swept(tmp_path, text)
    assert message in str(refused.value)


def test_arms_are_written_as_recipes_of_the_store() -> None:
    found = sweep("two-step-alpha")
    files = write_arms(found, found.full)
    assert [Path(file).stem for file in files] == [f"two-step-alpha-{arm}" for arm in found.arms]
    read = read_recipe(Path(files[0]))
    assert read.step("first").objectives["mlm"].weight == 0.2
    with pytest.raises(NdogoError, match="two-step-alpha"):
        sweep("two-step-alfa")


def test_the_command_takes_a_file_or_lists() -> None:
    asked = _swept("two-step-alpha", "small", "", "", "")
    assert (asked.languages, asked.seeds, asked.tokens, asked.judging.mode) == (["swahili"], [0], 30_000, "probe")
    full = _swept("two-step-alpha", "full", "hausa", "", "7")
    assert (full.languages, full.seeds, full.tokens, full.judging.mode) == (["hausa"], [7], None, "finetune")
    assert _swept("", "small", "swahili", "trim-only", "").seeds == [0, 1, 2]
    for wrong in (("", "small", "", "", ""), ("two-step-alpha", "small", "", "trim-only", "")):
        with pytest.raises(NdogoError, match="A sweep needs a file, or"):
            _swept(*wrong)
