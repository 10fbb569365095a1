"""A registered model answers over HTTP, as `mlflow models serve` starts it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from transformers import AutoModelForTokenClassification, AutoTokenizer

import ndogo_run
from ndogo.compressors.export import Settings, export
from ndogo.registry import model_registry
from ndogo.registry.bundles import Bundle, BundleRequest, open_store

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def registered(folder: Path, name: str) -> str:
    """The address in the registry of a directory that was registered under a name."""
    store = open_store()
    return registered_bundle(store.adopt(folder), name)


def registered_bundle(made: Bundle, name: str) -> str:
    store = open_store()
    registry = model_registry.client(store)
    experiment = registry.create_experiment(f"of {name}", artifact_location=(store.folder / "artifacts").as_uri())
    run = registry.create_run(experiment)
    model_registry.register(store, name, run.info.run_id, made, {"score": 0.5}, {})
    return f"models:/{name}@{model_registry.CHALLENGER}"


@contextlib.contextmanager
def served(address: str) -> Iterator[str]:
    """Where the model listens, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `--env-manager local` looks for uvicorn there
    told = os.environ | {
        "MLFLOW_TRACKING_URI": model_registry.tracking_uri(open_store()),
        "HF_HUB_OFFLINE": "1",
        "PATH": path,
    }
    line = ["-m", "mlflow", "models", "serve", "-m", address, "--env-manager", "local", "-p", str(port), "-w", "1"]
    server = subprocess.Popen([sys.executable, *line], env=told, start_new_session=True)
    try:
        yield wait(f"http://127.0.0.1:{port}", server)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(timeout=60)


def wait(address: str, server: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/ping", timeout=5) as answer:
            if answer.status == 200:
                return address
        time.sleep(0.25)
    raise AssertionError("the server did not come up")


def ask(address: str, texts: list[str]) -> list[Any]:
    body = json.dumps({"inputs": texts}).encode()
    request = urllib.request.Request(f"{address}/invocations", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [json.loads(one) for one in json.load(answer)["predictions"]]


def test_masks_are_filled_over_http(pico_model):
    with served(registered(pico_model("bert"), "fills")) as address:
        first, second = ask(address, ["Mtoto anasoma <mask>.", "Kitabu <mask> kiko mezani."])
    assert len(first) == len(second) == 5
    assert first[0]["score"] >= first[1]["score"] > 0
    assert set(first[0]) == {"score", "token", "token_str", "sequence"}


def test_words_are_tagged(pico_model, tmp_path: Path):
    model = AutoModelForTokenClassification.from_pretrained(pico_model("xlmr"), id2label={0: "NOUN", 1: "VERB"})
    model.save_pretrained(tmp_path / "tagger")
    AutoTokenizer.from_pretrained(pico_model("xlmr")).save_pretrained(tmp_path / "tagger")
    loaded = mlflow.pyfunc.load_model(registered(tmp_path / "tagger", "tags"))
    (words,) = [json.loads(answer) for answer in loaded.predict(["Mtoto anasoma kitabu."])]
    assert "".join(word["word"] for word in words).replace("▁", " ").strip() == "Mtoto anasoma kitabu."
    assert {word["entity"] for word in words} <= {"NOUN", "VERB"}


def test_an_export_answers_over_http_from_its_file_without_pickles(pico_model, tmp_path: Path):
    numbers: dict[str, Any] = {}

    def build(draft: Path) -> dict[str, Any]:
        numbers.update(export(pico_model("bert"), draft, Settings(("int8",), 8, agreement=0.0)))
        return numbers

    made, _ = open_store().find_or_make(BundleRequest("export", {}, 1), build)
    address = registered_bundle(made, "exported")
    logged = Path(mlflow.artifacts.download_artifacts(address, dst_path=str(tmp_path)))
    assert not [file for file in logged.rglob("*") if file.suffix in (".pkl", ".pickle", ".bin", ".pt")]
    assert "torch" not in (logged / "requirements.txt").read_text()
    texts = ["Mtoto anasoma <mask>.", "<mask> <mask>"]
    with served(address) as listening:
        given = ask(listening, texts)
    model = ndogo_run.load(open_store().path(made))
    expected = [[[vars(token) for token in mask] for mask in model.fill(text)] for text in texts]
    assert [[[t["label"] for t in mask] for mask in text] for text in given] == [
        [[t["label"] for t in mask] for mask in text] for text in expected
    ]
    assert len(given[1]) == 2 and abs(given[0][0][0]["score"] - expected[0][0][0]["score"]) < 1e-6
