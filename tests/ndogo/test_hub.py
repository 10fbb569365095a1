"""From a hub and back to it, in one machine's life: real clients in processes of their own, the real layouts.

A run with the hub there and one with the hub gone, all benchmarks judged; then pushing: a card that the hub and people can
read, the same bytes on the other side, nothing sent twice, refusals in words.
"""

import contextlib
import importlib.util
import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ndogo.registry.push import MESSAGE
from tests.hub import repositories
from tests.hub.clients import ROOT, Machine
from tests.hub.server import Hub, running

NAME = "mama/ndogo-swahili"
SHORT = """
name: short
about: The steps of ndogo-small, each as short as can be
evaluate: ends
steps:
  - trim: {coverage: 0.9995}
  - adapt: {epochs: 1, batch_size: 32, learning_rate: 3.0e-4}
  - truncate: {layers: 6/12, keep: stride}
  - prune_ffn: {size: 1/2, importance: activation}
  - prune_hidden: {size: 1/2, select: pca, heads: shrink}
  - distil: {teacher: adapt, objective: {mlm: 1.0, direct: 10.0}, epochs: 1, batch_size: 32, learning_rate: 1.0e-3}
  - export: {dtype: [fp32, int8], lines: 8}
"""
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


@dataclass
class Seen:
    """What the hub had been asked: files' bodies by the end of the first run, and requests made by the second."""

    bodies: set[int]
    later: int


@pytest.fixture(scope="module")
def lived(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Seen]:
    """A machine with two finished runs, the second of them without a hub, which is back afterwards."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "short.yaml").write_text(SHORT)
    machine = Machine(hub, folder, HF_TOKEN="hf_writer", OMP_NUM_THREADS="1")
    (machine.home / "languages").mkdir(parents=True)
    (machine.home / "languages" / "swahili.yaml").write_text(repositories.POS_COPY)
    machine.compress("trim-only")
    bodies, asked = set(hub.bodies().values()), len(hub.requests)
    hub.vanish()
    machine.compress("short.yaml")
    seen = Seen(bodies, len(hub.requests) - asked)
    hub.listen()
    return machine, seen


@pytest.fixture(scope="module")
def machine(lived: tuple[Machine, Seen]) -> Machine:
    return lived[0]


def bundle(machine: Machine, step: str) -> Path:
    """A step's, of the second run."""
    return machine.home / "bundles" / machine.runs()[1]["steps"][step]["key"]


@pytest.mark.timeout(1800)
def test_two_runs_have_all_benchmarks_and_the_second_needs_no_hub(hub: Hub, lived: tuple[Machine, Seen]):
    machine, seen = lived
    assert seen.bodies == {1}, "no file's body is sent twice"
    assert seen.later == 0
    teacher = {f"models/{repositories.TEACHER}@main": hub.find("model", repositories.TEACHER).refs["main"]}
    text = {"datasets/cis-lmu/GlotCC-V1@main": hub.find("dataset", "cis-lmu/GlotCC-V1").refs["main"]}
    online, offline = machine.runs()
    for record in (online, offline):
        assert record["state"] == "COMPLETED"
        for judged in record["evaluations"].values():
            assert {"sentiment", "topic", "ner", "pos"} <= set(judged["metrics"])
            assert judged["problems"] == {}
        sources = record["run"]["sources"]
        assert (sources["teacher"], sources["corpus"]) == (teacher, text)
        assert "datasets/Davlan/sib200@refs/convert/parquet" in sources["benchmarks"]
    assert online["evaluations"]["original"]["key"] == offline["evaluations"]["original"]["key"], "found again"
    for step, expected in (("original", teacher), ("trim", text), ("distil", text), ("truncate", {})):
        assert json.loads((bundle(machine, step) / "step.json").read_text())["sources"] == expected


PUSH = ("push", "swahili-short-0", "--to")
REFUSED = {
    "not logged in": ({"HF_TOKEN": ""}, NAME, "log in with"),
    "does not know your token": ({"HF_TOKEN": "hf_old"}, NAME, "HF_TOKEN"),
    "Your token may not do this": ({"HF_TOKEN": "hf_reader"}, "mama/other", "right to write there"),
    "no name of a repository": ({}, "mama", "user/name"),
}
SAID = {
    "dry": (("push", "ndogo-swahili-short", "--to", "mama/never", "--dry-run", "--license", "cc-by-nc-4.0"), {}),
    "push": ((*PUSH, NAME), {}),
    "again": ((*PUSH, NAME), {}),
    "int8": ((*PUSH, "mama/int8", "--int8", "--dry-run"), {}),
    "unknown": (("push", "swahili-shrot-0", "--to", NAME), {}),
    **{what: ((*PUSH, to), told) for what, (told, to, _) in REFUSED.items()},
}
"""Commands in their order, and what is set for each."""


@pytest.fixture(scope="module")
def said(machine: Machine) -> dict[str, tuple[int, str, str]]:
    """Exit code, output and errors of each command."""
    found = machine.ndogo_each(
        *SAID.values(), (("export", str(bundle(machine, "distil")), "--out", "shipped", "--lines", "4"), {})
    )
    return dict(zip((*SAID, "export"), found, strict=True))


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
    scores = machine.runs()[1]["evaluations"]["distil"]["metrics"]
    assert {name: found[0] for name, found in results.items()} == {
        n: scores[n] for n in ("topic", "sentiment", "ner", "pos")
    }
    revision = hub.find("dataset", "Davlan/sib200").refs[repositories.PARQUET]
    assert results["topic"][1:] == ["f1", "Davlan/sib200", "swh_Latn", revision]
    for part in ("coverage: 0.9995", "cc0-1.0", "Not measured", "per word"):
        assert part in text


def test_what_was_pushed_loads_with_stock_transformers_and_is_the_same(
    machine: Machine, hub: Hub, said, tmp_path: Path
):
    made = bundle(machine, "distil")
    there = hub.find("model", NAME)
    files = there.commits[there.refs["main"]]
    for file in made.iterdir():
        assert files[file.name] == file.read_bytes()
    other = Machine(hub, tmp_path)
    code = f"""
from transformers import AutoModelForMaskedLM, AutoTokenizer
import hashlib
model, tokenizer = AutoModelForMaskedLM.from_pretrained({NAME!r}), AutoTokenizer.from_pretrained({NAME!r})
answer = [sum(p.numel() for p in model.parameters()), len(tokenizer)]
"""
    numbers = json.loads((made / "step.json").read_text())["numbers"]
    rows = json.loads((made / "config.json").read_text())["vocab_size"]
    assert other.ask(code) == [numbers["params"], rows]


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
        ((told,),) = database.execute("select description from model_versions where name like '%short%'").fetchall()
    written = (machine.home / "push" / "mama--ndogo-swahili" / "README.md").read_text()
    scores = next(line for line in written.splitlines() if line.startswith("| topic |"))
    assert scores in told.replace("&ensp;", ""), "MLflow's page has a space between columns"
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
    done = machine.ndogo("push", "swahili-short-0", "--to", NAME, "--license", "cc-by-4.0")
    assert done.returncode == 1
    assert "Somebody else has written" in done.stderr


def test_a_model_that_nobody_made_is_named_with_those_that_are(said):
    assert "Did you mean swahili-short-0" in said["unknown"][2]
