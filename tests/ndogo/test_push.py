"""Pushing: a card that the hub and people can read, the same bytes on the other side, nothing sent twice, refusals in words."""

import contextlib
import importlib.util
import json
import os
import sqlite3
from pathlib import Path

import pytest
import yaml

from ndogo.registry.push import MESSAGE
from tests.hub import repositories
from tests.hub.clients import ROOT, Machine
from tests.hub.server import Hub, running

NAME = "mama/ndogo-swahili"
RECIPE = (
    "name: quick\nevaluate: ends\nsteps:\n  - trim: {coverage: 0.999}\n  - export: {dtype: [fp32, int8], lines: 8}\n"
)
LICENSES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "afl-3.0", "openrail", "other"}
"""Of the hub's documented list, those that can occur here."""
PIPELINES = {
    "fill-mask",
    "feature-extraction",
    "text-classification",
    "token-classification",
    "sentence-similarity",
}
RELATIONS = {"finetune", "quantized", "adapter", "merge"}
LIBRARIES = {"transformers", "sentence-transformers", "onnx"}
READ = f"""
from huggingface_hub import HfApi, ModelCard
card = ModelCard.load({NAME!r}, ignore_metadata_errors=False)
card.validate()
results = {{r.task_name: [r.metric_value, r.metric_type, r.dataset_type, r.dataset_config, r.dataset_revision]
            for r in card.data.eval_results}}
answer = [card.data.to_dict(), results, card.text, HfApi().model_info({NAME!r}).sha]
"""


@pytest.fixture(scope="module")
def hub():
    with running() as made:
        repositories.add_world(made)
        yield made


@pytest.fixture(scope="module")
def machine(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with one finished run."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "quick.yaml").write_text(RECIPE)
    made = Machine(hub, folder, HF_TOKEN="hf_writer", OMP_NUM_THREADS="1")
    done = made.ndogo("compress", "swahili", "--recipe", "quick.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    return made


QUICK = ("push", "swahili-quick-0", "--to")
REFUSED = {
    "not logged in": ({"HF_TOKEN": ""}, NAME, "log in with"),
    "does not know your token": ({"HF_TOKEN": "hf_old"}, NAME, "HF_TOKEN"),
    "Your token may not do this": ({"HF_TOKEN": "hf_reader"}, "mama/other", "right to write there"),
    "no name of a repository": ({}, "mama", "user/name"),
}
SAID = {
    "dry": (("push", "ndogo-swahili-quick", "--to", "mama/never", "--dry-run", "--license", "cc-by-nc-4.0"), {}),
    "push": ((*QUICK, NAME), {}),
    "again": ((*QUICK, NAME), {}),
    "int8": ((*QUICK, "mama/int8", "--int8", "--dry-run"), {}),
    "unknown": (("push", "swahili-quik-0", "--to", NAME), {}),
    **{what: ((*QUICK, to), told) for what, (told, to, _) in REFUSED.items()},
}
"""Commands in their order, and what is set for each."""


@pytest.fixture(scope="module")
def said(machine: Machine) -> dict[str, tuple[int, str, str]]:
    """Exit code, output and errors of each command."""
    found = machine.ndogo_each(
        *SAID.values(), (("export", str(trimmed(machine)), "--out", "shipped", "--lines", "4"), {})
    )
    return dict(zip((*SAID, "export"), found, strict=True))


def trimmed(machine: Machine) -> Path:
    """The run's small model."""
    found = [file.parent for file in (machine.home / "bundles").glob("*/certificate.json")]
    return next(folder for folder in found if not (folder / "onnx").is_dir())


@pytest.mark.timeout(900)
def test_a_dry_run_writes_the_folder_and_sends_nothing(machine: Machine, hub: Hub, said):
    assert said["dry"][0] == 0, said["dry"]
    text = (machine.home / "push" / "mama--never" / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == "cc-by-nc-4.0"
    assert hub.find("model", "mama/never") is None
    assert not [r for r in hub.requests if "mama/never" in r.path]


def test_the_card_says_what_the_hub_reads(machine: Machine, hub: Hub, said):
    head, results, text, _ = machine.ask(READ)
    assert head["language"] == "swa"
    assert head["license"] in LICENSES
    assert head["pipeline_tag"] in PIPELINES
    assert head["base_model_relation"] in RELATIONS
    assert head["library_name"] in LIBRARIES
    assert (head["base_model"], head["license"]) == (repositories.TEACHER, "mit")
    assert (head["pipeline_tag"], head["base_model_relation"]) == ("fill-mask", "finetune")
    assert head["datasets"] == ["cis-lmu/GlotCC-V1"]
    (record,) = [json.loads(f.read_text()) for f in (machine.home / "runs").glob("*.json")]
    scores = record["evaluations"]["trim"]["metrics"]
    assert {name: found[0] for name, found in results.items()} == {n: scores[n] for n in ("topic", "sentiment", "ner")}
    revision = hub.find("dataset", "Davlan/sib200").refs[repositories.PARQUET]
    assert results["topic"][1:] == ["f1", "Davlan/sib200", "swh_Latn", revision]
    for part in ("coverage: 0.999", "Not judged: pos", "cc0-1.0", "Not measured", "per word"):
        assert part in text


def test_what_was_pushed_loads_with_stock_transformers_and_is_the_same(
    machine: Machine, hub: Hub, said, tmp_path: Path
):
    bundle = trimmed(machine)
    there = hub.find("model", NAME)
    files = there.commits[there.refs["main"]]
    for file in bundle.iterdir():
        assert files[file.name] == file.read_bytes()
    other = Machine(hub, tmp_path)
    code = f"""
from transformers import AutoModelForMaskedLM, AutoTokenizer
import hashlib
model, tokenizer = AutoModelForMaskedLM.from_pretrained({NAME!r}), AutoTokenizer.from_pretrained({NAME!r})
answer = [sum(p.numel() for p in model.parameters()), len(tokenizer)]
"""
    numbers = json.loads((bundle / "step.json").read_text())["numbers"]
    assert other.ask(code) == [numbers["params"], numbers["rows_after"]]


def test_what_was_pushed_loads_with_stock_sentence_transformers(machine: Machine, hub: Hub, said, tmp_path: Path):
    if (found := importlib.util.find_spec("sentence_transformers")) is None:
        pytest.skip("sentence-transformers is not here")
    below = str(Path(found.origin).parents[1])
    code = f"""
from sentence_transformers import SentenceTransformer
from transformers import AutoModel
model = SentenceTransformer({NAME!r}, device="cpu")
same = AutoModel.from_pretrained({NAME!r})
words = same.get_input_embeddings().weight
answer = [list(model.encode(["Mtoto anasoma."]).shape), same.config.hidden_size,
          bool((model[0].model.get_input_embeddings().weight == words).all())]
"""
    (count, width), hidden, equal = Machine(hub, tmp_path).ask(code, PYTHONPATH=os.pathsep.join((str(ROOT), below)))
    assert (count, width, equal) == (1, hidden, True)


def test_an_int8_push_has_no_other_weights_and_says_that_it_is_quantized(machine: Machine, said):
    assert said["int8"][0] == 0, said["int8"]
    folder = machine.home / "push" / "mama--int8"
    head = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert head["base_model_relation"] == "quantized" in RELATIONS
    assert (head["base_model"], head["library_name"]) == (repositories.TEACHER, "onnx")
    assert not list(folder.rglob("*.safetensors"))
    manifest = json.loads((folder / "onnx" / "export.json").read_text())
    assert [entry["precision"] for entry in manifest["files"].values()] == ["int8"]
    assert [file.name for file in folder.rglob("*.onnx")] == [manifest["default"]]


def test_the_card_is_the_description_in_mlflow_and_goes_into_exports_but_not_into_bundles(machine: Machine, said):
    with contextlib.closing(sqlite3.connect(machine.home / "mlflow.db")) as database:
        ((told,),) = database.execute("select description from model_versions").fetchall()
    written = (machine.home / "push" / "mama--ndogo-swahili" / "README.md").read_text()
    scores = next(line for line in written.splitlines() if line.startswith("| topic |"))
    assert scores in told
    assert len(told) <= 5000
    assert said["export"][0] == 0, said["export"]
    assert scores in (machine.folder / "shipped" / "README.md").read_text()
    assert not list((machine.home / "bundles").glob("*/README.md"))


def test_the_same_again_changes_nothing(hub: Hub, said):
    assert "Pushed: " in said["push"][1], said["push"]
    assert "Nothing has changed" in said["again"][1], said["again"]
    assert hub.find("model", NAME).messages.count(MESSAGE) == 1
    sent = [r.path for r in hub.requests if r.method == "PUT"]
    assert len(sent) == len(set(sent))


def test_a_token_is_never_said(machine: Machine, said):
    words = " ".join(said["push"][1:]) + (machine.home / "push" / "mama--ndogo-swahili" / "README.md").read_text()
    assert "hf_writer" not in words


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_say_what_to_do(said, what: str):
    code, _, told = said[what]
    assert code == 1
    assert what in told
    assert REFUSED[what][2] in told
    assert "Traceback" not in told
    assert "hf_old" not in told


def test_somebody_who_pushed_meanwhile_is_not_overwritten(machine: Machine, hub: Hub, said):
    hub.faults.status["/commit/main"] = (412, 1)
    done = machine.ndogo("push", "swahili-quick-0", "--to", NAME, "--license", "cc-by-4.0")
    assert done.returncode == 1
    assert "Somebody else has written" in done.stderr


def test_a_model_that_nobody_made_is_named_with_those_that_are(said):
    assert "Did you mean swahili-quick-0" in said["unknown"][2]
