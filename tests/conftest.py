"""Fixtures for every test: pico models once per session, no network, a store of its own."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a store of the person who runs the tests is none of theirs

from tests import pico

LOOPBACK = ("127.0.0.1", "::1", "localhost", "0.0.0.0")


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loopback only, and a store in the test's own folder."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            raise RuntimeError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setenv("NDOGO_HOME", str(tmp_path / "home"))
    # MLflow writes the address it was given into the environment: set first, so that the end of the test takes that away too.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture(scope="session")
def pico_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`pico_model("xlmr")` is a model directory; never change it."""
    built: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in built:
            built[family] = (pico.FAMILIES | pico.UNLISTED)[family](tmp_path_factory.mktemp(family))
        return built[family]

    return get


@pytest.fixture(params=list(pico.FAMILIES))
def any_pico(request: pytest.FixtureRequest, pico_model: Callable[[str], Path]) -> Path:
    """Every family in turn."""
    return pico_model(request.param)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real texts, tokenizers and a real teacher; the test is skipped where there is none."""
    folder = Path(os.environ.get("NDOGO_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "text").is_dir():
        pytest.skip("real material is not here; point NDOGO_SHARED at it")
    return folder
