"""The hub profile with a real teacher, its real tokenizer, real text and real rows, of each as little as makes a run."""

from itertools import islice
from pathlib import Path

import pytest

from ndogo.core.text import lines_of
from ndogo.evaluation import json_rows
from tests.hub import repositories
from tests.hub.clients import Machine
from tests.hub.server import running
from tests.hub.store import folder_files

pytestmark = [pytest.mark.real, pytest.mark.timeout(3600)]
LINES = 300


def test_both_recipes_run_and_the_second_needs_no_hub(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = shared / "data"
    few = list(islice(lines_of(data / "text" / "swa.txt.gz")(), LINES))
    monkeypatch.setattr(repositories, "LINES", LINES)
    monkeypatch.setattr(repositories, "lines", lambda: few)
    monkeypatch.setattr(repositories, "rows", lambda kind: real_rows(data / "tasks" / kind / "swa"))
    with running() as hub:
        repositories.add_world(hub)
        files = {name: body for name, body in folder_files(shared / "teacher").items() if name != "README.md"}
        hub.add("model", repositories.TEACHER, files | {"README.md": repositories.card(license="mit")})
        machine = Machine(hub, tmp_path, OMP_NUM_THREADS="1")
        (machine.home / "languages").mkdir(parents=True)
        (machine.home / "languages" / "swahili.yaml").write_text(repositories.POS_COPY)
        machine.compress("trim-only")
        assert set(hub.bodies().values()) == {1}
        hub.vanish()
        machine.compress("ndogo-small")
    trimmed, small = machine.runs()
    for record in (trimmed, small):
        assert record["state"] == "COMPLETED"
        for judged in record["evaluations"].values():
            assert {"sentiment", "topic", "ner", "pos"} <= set(judged["metrics"])
            assert judged["problems"] == {}
    assert trimmed["evaluations"]["original"]["key"] == small["evaluations"]["original"]["key"]


def real_rows(folder: Path) -> dict[str, list[dict]]:
    """Some rows of each split, evenly drawn: some files are sorted by label."""
    whole = {split: [row for _, row in json_rows(folder / f"{split}.jsonl.gz")] for split in repositories.ROWS}
    return {split: whole[split][:: len(whole[split]) // n][:n] for split, n in repositories.ROWS.items()}
