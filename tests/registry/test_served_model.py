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

from ndogo.registry import model_registry
from ndogo.registry.bundles import open_store

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def registered(folder: Path, name: str) -> str:
    """The address in the registry of a directory that was registered under a name."""
    store = open_store()
    made = store.adopt(folder)
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
