"""The door to the hub: what is there is found once and kept; what is not is refused in words, before any work."""

import json
from pathlib import Path

import pytest

from tests.hub import repositories
from tests.hub.clients import Machine
from tests.hub.server import Hub, running
from tests.hub.store import folder_files

IMPORTS = """
from ndogo.core.errors import NdogoError
from ndogo.registry import sources
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.corpora import corpus
from ndogo.registry.hub import Hub
from ndogo.registry.languages import language
from ndogo.registry.teachers import weights
def tried(make):
    try:
        return make()
    except NdogoError as error:
        return str(error)
swahili = language("swahili")
"""
READ = (
    IMPORTS
    + """
hub = Hub(GIVEN)
found = benchmarks("swahili", "hub", hub)
read = {b.name: getattr(b, "problem", "") or [len(b.splits["train"]), list(b.labels), b.fingerprint()] for b in found}
text = corpus("swahili", "hub", hub)
teacher = weights("", swahili, "hub", hub)
answer = {"read": read, "text": text.fingerprint(), "files": sorted(f.name for f in teacher.iterdir()), "commits": hub.commits}
"""
)


@pytest.fixture(scope="module")
def hub():
    with running() as made:
        repositories.add_world(made)
        yield made


@pytest.fixture(scope="module")
def machine(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(hub, tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def first(machine: Machine) -> dict:
    """What a first look at the whole world finds."""
    return machine.ask(READ.replace("GIVEN", "{}"))


def test_everything_is_read_from_the_real_layouts_with_its_labels_as_words(first: dict):
    read = first["read"]
    assert read["topic"][:2] == [60, ["farming", "health", "politics", "sport", "trade"]]
    assert read["sentiment"][:2] == [60, ["negative", "positive"]]
    assert read["ner"][:2] == [60, ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"]]
    assert "is a loading script (masakhapos.py), which is never run" in read["pos"]
    assert "docs/hub.md" in read["pos"]


def test_the_rows_are_those_of_the_language_and_no_others(first: dict):
    from ndogo.evaluation import checked

    for kind in ("topic", "sentiment", "ner"):
        rows = repositories.rows(kind)
        expected = checked(kind, {s: ((f"{s} {n}", row) for n, row in enumerate(rows[s])) for s in rows})
        assert first["read"][kind][2] == expected.fingerprint()


def test_no_code_and_no_pickle_is_fetched_where_safetensors_are(first: dict):
    assert "model.safetensors" in first["files"]
    assert not [name for name in first["files"] if name.endswith((".bin", ".py"))]


def test_every_repository_is_pinned_and_read_again_without_a_body(hub: Hub, machine: Machine, first: dict):
    sib = hub.find("dataset", "Davlan/sib200")
    assert first["commits"]["datasets/Davlan/sib200@refs/convert/parquet"] == sib.refs[repositories.PARQUET]
    before = len(hub.requests)
    again = machine.ask(READ.replace("GIVEN", json.dumps(first["commits"])))
    assert again == first
    asked = [r.path for r in hub.requests[before:]]
    assert asked == ["/api/datasets/masakhane/masakhapos/revision/refs/convert/parquet"], "the one that has no commit"
    assert set(hub.bodies().values()) == {1}


def test_a_commit_that_is_given_is_read_although_the_hub_has_moved_on(hub: Hub, machine: Machine, first: dict):
    teacher = hub.find("model", repositories.TEACHER)
    teacher.commit({**teacher.commits[teacher.refs["main"]], "README.md": b"news"})
    code = IMPORTS + "hub = Hub(GIVEN)\nanswer = (weights('', swahili, 'hub', hub) / 'README.md').read_text()"
    assert "mit" in machine.ask(code.replace("GIVEN", json.dumps(first["commits"])))
    assert machine.ask(code.replace("GIVEN", "{}")) == "news"


REFUSED = {
    "Davlan/afro-xlmr-bse": ["shows no model `Davlan/afro-xlmr-bse`", "Did you mean Davlan/afro-xlmr-base?", "hf auth"],
    "mama/secret": ["shows no model `mama/secret`", "If it is private", "HF_TOKEN"],
    "mama/gated": ["is gated", "ask for access"],
    "Davlan/afro-xlmr-base@v9": ["has no revision `v9`"],
    "no such/dir/anywhere": ["neither a directory here nor the name of a repository", "owner/name"],
    "mama/gguf": ["holds no weights that can be read", "model.gguf"],
    "mama/empty": ["it has no config.json"],
}


def test_teachers_that_cannot_be_had_are_refused_in_words(hub: Hub, machine: Machine):
    hub.add("model", "mama/secret", {"config.json": b"{}"}, private=True)
    hub.add("model", "mama/gated", {"config.json": b"{}", "model.safetensors": b"1"}, gated=True)
    hub.add("model", "mama/gguf", {"config.json": b"{}", "model.gguf": b"1"})
    hub.add("model", "mama/empty", {"README.md": b""})
    code = "answer = {n: str(tried(lambda: weights(n, swahili, 'hub', Hub()))) for n in NAMES}"
    said = machine.ask(IMPORTS + code.replace("NAMES", repr(list(REFUSED))))
    for name, parts in REFUSED.items():
        for part in parts:
            assert part in said[name], (part, said[name])


def test_a_token_opens_what_is_private_and_a_wrong_one_is_named(hub: Hub, machine: Machine):
    hub.add("model", "mama/mine", {"config.json": b"{}", "model.safetensors": b"1"}, private=True)
    code = IMPORTS + "answer = str(tried(lambda: weights('mama/mine', swahili, 'hub', Hub())))"
    assert machine.ask(code, HF_TOKEN="hf_writer").endswith(hub.find("model", "mama/mine").refs["main"])
    wrong = machine.ask(code, HF_TOKEN="hf_forgotten")
    assert "does not know your token" in wrong
    assert "hf_forgotten" not in wrong
    guest = machine.ask(
        code.replace("mama/mine", "mama/gated"), HF_TOKEN="hf_reader"
    )  # logged in, not let in: the hub answers 403
    assert "is gated" in guest


def test_the_command_prints_no_traceback(machine: Machine):
    done = machine.ndogo("compress", "swahili", "--teacher", "Davlan/afro-xlmr-bse")
    assert done.returncode == 1
    assert "Did you mean Davlan/afro-xlmr-base?" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_what_is_lost_on_the_way_is_said_and_what_came_is_kept(tmp_path: Path):
    with running() as hub:
        repositories.add_teacher(hub)
        machine = Machine(hub, tmp_path)
        code = IMPORTS + "answer = str(tried(lambda: weights('', swahili, 'hub', Hub())))"
        hub.faults.status["/api/models"] = (503, 1)
        assert "is not well (it answers 503)" in machine.ask(code)
        hub.faults.cut["/large/"] = 1
        hub.faults.bytes_per_second = 40e6
        assert "snapshots" in machine.ask(code)
        hub.faults.gone_after = 0
        assert "snapshots" in machine.ask(code), "a hub that is gone is not missed"
        assert "snapshots" in machine.ask(code, HF_HUB_OFFLINE="1")


def test_a_hub_that_goes_away_in_between_ends_in_words(tmp_path: Path):
    with running() as hub:
        repositories.add_teacher(hub)
        hub.faults.gone_after = 4
        machine = Machine(hub, tmp_path)
        code = IMPORTS + "answer = str(tried(lambda: weights('', swahili, 'hub', Hub())))"
        said = machine.ask(code)
        assert "The hub cannot be reached" in said
        assert "HF_ENDPOINT" in said
        offline = machine.ask(code, HF_HUB_OFFLINE="1")
        assert "HF_HUB_OFFLINE is set" in offline


def test_the_library_of_data_sets_reads_the_same_rows(machine: Machine):
    """An independent control: the layouts are those that the real client understands."""
    code = """
import datasets
from ndogo.registry.hub import Hub
from ndogo.registry.sources import default, rows, texts
hub = Hub()
theirs = datasets.load_dataset("cis-lmu/GlotCC-V1", "swh-Latn", split="train")
text = [line for row in theirs for line in row["content"].splitlines()] == list(texts(default("corpus", "swh-Latn"), hub))
ner = datasets.load_dataset("masakhane/masakhaner2", data_dir="swa", revision="refs/convert/parquet", split="validation")
names = ner.features["ner_tags"].feature.names
ours = [row["tags"] for _, row in rows(default("ner", "swa"), "dev", hub)]
answer = [text, ours == [[names[tag] for tag in row["ner_tags"]] for row in ner]]
"""
    assert machine.ask(code) == [True, True]


def test_both_names_of_the_converted_files_are_found(tmp_path: Path):
    with running() as hub:
        found = repositories.tagged("ner", "ner_tags")
        repositories.add_converted(hub, "masakhane/masakhaner2", "swa", *found, flat=True)
        code = IMPORTS + "answer = [r['tags'] for _, r in sources.rows(sources.default('ner', 'swa'), 'test', Hub())]"
        expected = [row["tags"] for row in repositories.rows("ner")["test"]]
        assert Machine(hub, tmp_path).ask(code) == expected


def test_a_cache_that_another_program_filled_is_used_offline(tmp_path: Path):
    with running() as hub:
        repositories.add_teacher(hub)
        machine = Machine(hub, tmp_path)
        machine.ask(
            "from huggingface_hub import hf_hub_download as get\n"
            f"answer = [get('{repositories.TEACHER}', n) for n in NAMES]".replace(
                "NAMES", repr([n for n in folder_files(Path(repositories.pocket.teacher()))])
            )
        )
        hub.vanish()
        code = IMPORTS + "answer = str(weights('', swahili, 'hub', Hub()))"
        assert "snapshots" in machine.ask(code)


def test_a_new_language_is_one_command(hub: Hub, tmp_path: Path):
    machine = Machine(hub, tmp_path)
    add = ["languages", "add", "--name", "kimvita", "--corpus", "hf:cis-lmu/GlotCC-V1:swh-Latn:train"]
    add += ["--benchmarks", "topic=hf:Davlan/sib200:swh_Latn", "--benchmarks", "pos=hf:mama/masakhapos-swa:swa"]
    refused = machine.ndogo(*add, "--benchmarks", "ner=hf:masakhane/masakhaner3:swa")
    assert refused.returncode == 1
    assert "Did you mean masakhane/masakhaner2" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(machine.home.glob("languages/*"))
    done = machine.ndogo(*add, NDOGO_PROFILE="")
    assert done.returncode == 0, done.stderr
    code = """
from ndogo.registry.benchmarks import benchmarks
from ndogo.registry.corpora import corpus, default_profile
from ndogo.registry.languages import language
profile = default_profile(language("kimvita"))
answer = [profile, [b.name for b in benchmarks("kimvita", profile)], sum(1 for _ in corpus("kimvita", profile).lines())]
"""
    profile, names, lines = machine.ask(code, NDOGO_PROFILE="")
    assert (profile, sorted(names)) == ("hub", ["pos", "topic"])
    assert lines > repositories.LINES * 0.97


def test_translations_are_the_hubs_and_a_hub_without_them_loses_no_run(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).mkdir()
    asked = f"{IMPORTS}\nfrom ndogo.registry.parallel import parallel\nhub = Hub()\nfound = parallel('swahili', 'hub', hub)\n"
    with running() as made:
        repositories.add_translations(made)
        found = Machine(made, tmp_path / "a").ask(f"{asked}answer = [found.other, found.dev, found.test, hub.commits]")
    other, dev, test, commits = found
    assert other == "English" and test == [[f"{code} {n}" for n in range(5)] for code in ("swa", "eng")]
    assert dev[0][0] == "swh_Latn train 0" and dev[1][-1] == "eng_Latn dev 23" and len(dev[0]) == len(dev[1]) == 84
    assert any(name.startswith("datasets/davidstap/NTREX@") for name in commits), "pinned as all that a run reads"
    with running() as empty:
        assert Machine(empty, tmp_path / "b").ask(f"{asked}answer = found") is None
