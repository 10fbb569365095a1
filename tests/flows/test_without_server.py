"""A Prefect server that was named and is away is refused before any work."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ndogo.core.errors import NdogoError
from ndogo.flows.without_server import without_server


class Answer(BaseHTTPRequestHandler):
    """Broken, or there for those who log in."""

    def do_GET(self) -> None:
        self.send_response(401 if self.path.startswith("/closed") else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Answer) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()


@pytest.mark.parametrize("away", ["http://127.0.0.1:9/api", "/api", "no address"])
def test_one_that_is_away_is_refused(away: str, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    address = server + away if away == "/api" else away
    for name, value in {"PREFECT_API_URL": address, "PREFECT_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in ("DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(NdogoError, match="does not answer") as refused, without_server():
        pass
    assert address in str(refused.value)
    monkeypatch.setenv("PREFECT_API_URL", f"{server}/closed")
    with without_server():
        assert refused.value.cure
