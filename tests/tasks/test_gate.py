"""The gate: a challenger is measured against the champion and the fixed reference, and what cannot be measured is refused."""

import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Failed

from ndogo import run_commands
from ndogo.core.errors import NdogoError
from ndogo.evaluation import Evaluation, EvaluationSettings, checked
from ndogo.evaluation.finetune import Judged
from ndogo.evaluation.judge import RECORD_VERSION, entry
from ndogo.flows.closing import close
from ndogo.registry import champions, model_registry
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.bundles import Bundle, BundleRequest, Store
from ndogo.registry.cleaning import clean
from ndogo.registry.languages import Language, add_language
from ndogo.registry.model_registry import Version
from ndogo.steps.recipe import Budget, parse_recipe
from ndogo.tasks import notes
from ndogo.tasks.evaluation import EVALUATIONS, evaluation_key
from ndogo.tasks.gate import decide, fallen, over_budget, uncertified
from ndogo.tasks.run import Run
from ndogo.tasks.run_record import RUNS, RunRecord
from tests import tiny

ROWS = 400
SETTINGS = EvaluationSettings()
SUMMARY = {"params": 24672.0, "size_mb": 0.25, "score": 0.9, "retention": 0.97}
NAME = "ndogo-tiny-r"


def judged(problems: Mapping[str, str] | None = None, **wrong: int) -> Evaluation:
    """An evaluation as the judge makes it: each named benchmark with so many wrong rows of 400."""
    found = {}
    for name, count in wrong.items():
        rows = [(f"row {n}", {"tokens": ["a"], "tags": ["NOUN"]}) for n in range(ROWS)]
        benchmark = checked(f"pos_{name}", {"train": rows, "dev": rows, "test": rows})
        guesses = [("VERB",) if n < count else ("NOUN",) for n in range(ROWS)]
        found[name] = entry(benchmark, SETTINGS, Judged({}, [0.0] * 3, [guesses] * 3))
    given = {
        "settings": SETTINGS,
        "versions": {},
        "benchmarks": found,
        "problems": dict(problems or {}),
        "seconds": 0.0,
    }
    return Evaluation(version=RECORD_VERSION, model="m", parameters=1, **given)


def test_what_is_as_good_or_better_passes():
    assert fallen(judged(pos=20), judged(pos=20), "the champion") == []
    assert fallen(judged(pos=5), judged(pos=20), "the champion") == []
    assert fallen(judged(pos=23), judged(pos=20), "the champion") == [], "0.75 points"


def test_a_fall_beyond_doubt_names_number_amount_and_version():
    benchmark, mean = fallen(judged(pos=90), judged(pos=20), "the champion, version 7")
    assert benchmark.startswith("pos fell by 17.5 points (95% interval -")
    assert benchmark.endswith("against the champion, version 7")
    assert mean == "the mean fell by 17.5 points against the champion, version 7"


def test_two_points_on_a_few_hundred_rows_are_a_fall_though_the_interval_holds_minus_one():
    (said,) = fallen(judged(pos=28), judged(pos=20), "the reference")
    assert said == "the mean fell by 2.0 points against the reference"


def test_one_benchmark_cannot_pay_for_another():
    better = judged(pos=60, ner=20)
    (said,) = fallen(better, judged(pos=20, ner=80), "the champion")
    assert said.startswith("pos fell by 10.0 points")


def test_the_budget_is_a_limit_in_the_recipe():
    assert over_budget(None, {"params": 5.0}) == []
    assert over_budget(Budget(params=10, size_mb=1.0), {"params": 10.0, "size_mb": 1.0}) == []
    assert over_budget(Budget(params=10), {"params": 11.0, "size_mb": 1.0}) == ["params is 11, the budget 10"]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's: making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("mlflow")
    model_registry.client(Store(folder)).search_registered_models()
    return folder / "mlflow.db"


@pytest.fixture
def run(pico_model, database: Path, tmp_path: Path) -> Run:
    (tmp_path / "home").mkdir(exist_ok=True)
    shutil.copyfile(database, tmp_path / "home" / "mlflow.db")
    text, rows = tiny.write(tmp_path / "tiny")
    teacher = pico_model("xlmr")
    add_language(Language(name=tiny.NAME, corpus=str(text), teacher=str(teacher), benchmarks=str(rows)))
    return tiny.run_of(parse_recipe("name: r\nsteps:\n  - truncate: {layers: 1}"), teacher)


Challenge = Callable[[str, Evaluation], tuple[Version, list[str]]]


@pytest.fixture
def challenge(run: Run) -> Challenge:
    """Makes a bundle of a name, registers it with an evaluation, and lets the gate decide."""

    def made(name: str, scores: Evaluation) -> tuple[Version, list[str]]:
        bundle = bundle_of(run, name)
        rows = benchmarks(run.language, run.profile)
        run.store.write_record(EVALUATIONS, evaluation_key(run, bundle, rows), scores)
        version = registered(run, bundle)
        return version, decide(run, version, scores, SUMMARY)

    return made


def bundle_of(run: Run, name: str, step: str = "truncate", files: Mapping[str, str] | None = None) -> Bundle:
    def build(draft: Path) -> dict[str, float]:
        for file in run.store.path(run.original).iterdir():
            if file.name != "step.json":
                (draft / file.name).write_bytes(file.read_bytes())
        for file_name, text in (files or {}).items():
            (draft / file_name).write_text(text)
        return {}

    return run.store.find_or_make(BundleRequest(step, {"name": name}, 1, parents={"student": run.original}), build)[0]


def registered(run: Run, bundle: Bundle) -> Version:
    """A version of the model's name, without MLflow's copy of its files."""
    registry = model_registry.client(run.store)
    if NAME not in model_registry.names(run.store):
        registry.create_registered_model(NAME)
    source = run.store.path(bundle).as_uri()
    version = registry.create_model_version(NAME, source, tags={"bundle": bundle.key, "recipe": "r", "seed": "0"})
    registry.set_registered_model_alias(NAME, model_registry.CHALLENGER, version.version)
    return Version.of(version)


def champion(run: Run) -> str:
    """The version that MLflow shows as the champion."""
    found = model_registry.by_alias(run.store, NAME, model_registry.CHAMPION)
    return found.version if found else ""


def test_the_first_passes_and_is_champion_and_reference_in_store_and_registry(run, challenge):
    version, refused = challenge("first", judged(pos=40, ner=40))
    assert refused == [] and champion(run) == version.version
    found = champions.standing(run.store, NAME)
    assert found is not None and found.champion == found.reference
    assert found.champion.benchmarks == ["pos", "ner"]
    shown = model_registry.by_alias(run.store, NAME, model_registry.REFERENCE)
    assert shown is not None and shown.version == version.version


def test_a_challenger_that_lost_a_benchmark_is_refused_though_its_mean_is_higher(run, challenge):
    first, _ = challenge("first", judged(pos=20, ner=120))
    _, refused = challenge("next", judged({"ner": "line 3 is wrong"}, pos=20))
    assert "ner was not judged, as it was for the champion, version 1 (line 3 is wrong)" in refused
    assert champion(run) == first.version


def test_a_benchmark_that_nobody_can_be_judged_on_any_more_is_refused_too(run, challenge):
    """Both are judged anew on today's rows, where it is gone: the champion's record knows that it was there."""
    _, _ = challenge("first", judged(pos=20, ner=120))
    key = evaluation_key(run, bundle_of(run, "first"), benchmarks(run.language, run.profile))
    run.store.write_record(EVALUATIONS, key, judged(pos=20))
    _, refused = challenge("next", judged(pos=20))
    assert refused == ["ner was not judged, as it was for the champion, version 1"]


def test_with_the_champions_bundle_gone_nothing_passes(run, challenge):
    challenge("first", judged(pos=40))
    (run.store.path(bundle_of(run, "first")) / "step.json").unlink()
    _, refused = challenge("next", judged(pos=4))
    assert len(refused) == 1 and "is gone, so nothing can be compared with it" in refused[0]
    assert champion(run) == "1"


def test_a_database_that_was_made_again_knows_the_champion_from_the_store(run, challenge):
    challenge("first", judged(pos=40))
    registry = model_registry.client(run.store)
    registry.delete_registered_model(NAME)
    assert champion(run) == ""
    _, refused = challenge("worse", judged(pos=200))
    assert any(said.startswith("pos fell by 40.0 points") for said in refused) and champion(run) == ""
    better, refused = challenge("better", judged(pos=30))
    assert refused == [] and champion(run) == better.version


def test_a_record_of_the_champion_that_cannot_be_read_is_not_as_good_as_none(run, challenge):
    challenge("first", judged(pos=40))
    (run.store.folder / champions.CHAMPIONS / f"{NAME}.json").write_text("{")
    _, refused = challenge("next", judged(pos=4))
    assert len(refused) == 1 and "champion cannot be read" in refused[0]
    with pytest.raises(NdogoError, match="champion cannot be read"):
        clean(run.store, 0)


def test_small_falls_from_night_to_night_add_up_against_the_reference(run, challenge):
    challenge("first", judged(pos=40))
    second, refused = challenge("second", judged(pos=43))
    assert refused == [] and champion(run) == second.version, "0.75 points are within the rule"
    _, refused = challenge("third", judged(pos=46))
    assert refused == ["the mean fell by 1.5 points against the reference, version 1"]


def test_the_champion_again_is_nothing_to_decide(run, challenge):
    first, _ = challenge("first", judged(pos=40))
    assert decide(run, first, judged({"ner": "gone"}, pos=300), SUMMARY) == []
    assert champion(run) == first.version


def test_a_refusal_its_reasons_and_scores_stand_on_the_version_and_in_the_history(run, challenge, capsys):
    challenge("first", judged(pos=40))
    version, refused = challenge("worse", judged(pos=200))
    found = {v.version: v for v in model_registry.versions(run.store, NAME)}
    said = found[version.version]
    assert (said.tags["gate"], said.tags["score"], said.tags["size_mb"]) == ("refused", "0.9", "0.25")
    assert said.tags["refused"] == "; ".join(refused) and refused[0] in said.description
    assert found["1"].tags["gate"] == "passed" and "score 0.9" in found["1"].description
    model_registry.describe(run.store, NAME, "1", "what a later night says" * 500)
    later = model_registry.versions(run.store, NAME)[-1].description
    assert later.startswith("what a later night") and later.endswith(found["1"].description.strip())
    run_commands.history(NAME)
    told = " ".join(capsys.readouterr().out.split())
    assert "version 2 was refused: pos fell by 40.0 points" in told
    assert "champion" in told and "reference" in told and "challenger" in told


def test_the_history_of_an_unknown_model_says_so(run, challenge):
    challenge("first", judged(pos=40))
    with pytest.raises(NdogoError, match="no registered model `ndogo-tiny-q`") as refused:
        run_commands.history("ndogo-tiny-q")
    assert NAME in refused.value.cure


def test_a_person_overrules_the_gate_and_may_move_the_reference(run, challenge):
    challenge("first", judged(pos=40))
    version, _ = challenge("worse", judged(pos=60))
    run_commands.promote(NAME, version.version, reference=False)
    assert champion(run) == version.version
    _, refused = challenge("as-bad", judged(pos=60))
    assert all("the reference, version 1" in said for said in refused) and refused
    run_commands.promote(NAME, version.version, reference=True)
    _, refused = challenge("also-as-bad", judged(pos=60))
    assert refused == []


def test_clean_keeps_champion_and_reference_without_the_registry_knowing_them(run, challenge):
    for name, wrong in (("first", 40), ("second", 41)):
        challenge(name, judged(pos=wrong))
    loose = bundle_of(run, "loose")
    model_registry.client(run.store).delete_registered_model(NAME)
    gone = {found.path.name for found in clean(run.store, 0, pretend=True)}
    kept = {bundle_of(run, name).key for name in ("first", "second")}
    assert loose.key in gone and not kept & gone and run.original not in gone


@pytest.mark.parametrize(
    ("text", "said"), [('{"valid": false}', "not valid"), ("{", "missing or no JSON"), ("", "missing or no JSON")]
)
def test_a_trim_without_a_valid_certificate_is_refused(run, text, said):
    files = {"certificate.json": text} if text else {}
    trim = bundle_of(run, f"trim {text}", "trim", files)
    assert uncertified(run.store, trim.key) == [f"the certificate of trim {trim.key} is {said}"]
    valid = bundle_of(run, "valid", "trim", {"certificate.json": json.dumps({"valid": True})})
    assert uncertified(run.store, valid.key) == []


def test_a_refusal_is_a_state_and_not_a_word_in_a_message(run):
    """A failure whose message holds the word is none, and a refusal stays one whatever the flow's message is."""
    ids = {"REFUSED": uuid.uuid4(), "FAILED": uuid.uuid4()}
    for state, run_id in ids.items():
        with notes.opened(run.model_copy(update={"id": str(run_id)})):
            if state == "REFUSED":
                notes.close(run.store, str(run_id), "REFUSED")
    messages = {"REFUSED": "Flow run failed.", "FAILED": "could not investigate the delegate"}
    for state, run_id in ids.items():
        flow_run = FlowRun(id=run_id, flow_id=uuid.uuid4())
        close(None, flow_run, Failed(message=messages[state]))
        record = run.store.read_record(RUNS, str(run_id), RunRecord)
        assert record is not None and record.state == state
