"""A hub of our own on loopback: the API that huggingface_hub 2.4 and datasets 5.2 speak, written from what they send.

Not here: Xet (HF_HUB_DISABLE_XET=1 switches it off in the clients), discussions, spaces. Faults are injected by `Faults`.
"""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub import routes
from tests.hub.store import Repository, sha256


@dataclass
class Faults:
    """What goes wrong. Paths are matched by a part of them."""

    status: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Part of a path: (status, how many times)."""
    cut: dict[str, int] = field(default_factory=dict)
    """Part of a path: how many downloads end after half of their bytes."""
    bytes_per_second: float = 0.0
    gone_after: int | None = None
    """After so many requests nobody answers any more."""


@dataclass
class Request:
    """One request as it came, and how much was sent back."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    status: int = 0
    sent: int = 0

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in ("1", "true")


@dataclass
class Answer:
    """What is sent back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """The state of a running hub, and what tests ask of it."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.tokens = {"hf_writer": "mama", "hf_reader": "guest"}
        self.readers: set[str] = set()
        """Users who were let into the gated repositories."""
        self.faults = Faults()
        self.requests: list[Request] = []
        self.page = 1000
        self.endpoint = ""
        self.lock = threading.Lock()
        self.gone = False
        self.server: Listening | None = None

    @property
    def elsewhere(self) -> str:
        """Where large files lie: another host to a client, which then keeps its token to itself."""
        return self.endpoint.replace("127.0.0.1", "localhost")

    def add(self, kind: str, name: str, files: dict[str, bytes], **how: Any) -> Repository:
        """A repository with one commit on main."""
        made = Repository(kind, name, owner=name.split("/")[0], **how)
        made.commit(files)
        self.repositories[kind, name] = made
        return made

    def find(self, kind: str, name: str) -> Repository | None:
        return self.repositories.get((kind, name))

    def known(self, kind: str, name: str) -> Repository | None:
        """The repository of that name in other letters, to which the hub redirects."""
        same = [r for (k, n), r in self.repositories.items() if k == kind and n.lower() == name.lower()]
        return same[0] if same else None

    def keep(self, content: bytes) -> str:
        """Keep a large file; its hash."""
        self.large[sha256(content)] = content
        return sha256(content)

    def bodies(self) -> Counter[str]:
        """How often the body of each file was sent, whole or in part: paths of resolve and of the large files."""
        got = (r for r in self.requests if r.method == "GET" and r.sent and r.status in (200, 206))
        return Counter(r.path for r in got if "/resolve/" in r.path or r.path.startswith("/large/"))

    def listen(self) -> None:
        """Answer from now on, on a free port of loopback, or where it was before it vanished."""

        class Bound(Handler):
            """Handlers of this hub."""

        Bound.hub = self
        port = int(self.endpoint.rpartition(":")[2]) if self.endpoint else 0
        self.server = server = Listening(("127.0.0.1", port), Bound)
        self.gone, self.endpoint = False, f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def vanish(self) -> None:
        """From now on nobody answers: what is connected is cut, and who calls again is refused."""
        with self.lock:
            self.gone, server, self.server = True, self.server, None
        if server:
            server.shutdown()
            server.server_close()

    def environment(self) -> dict[str, str]:
        """What a client's process needs to talk to this hub and to no other."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "127.0.0.1",
        }


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A hub that listens on a free port of loopback for as long as the block runs."""
    hub = Hub()
    hub.listen()
    try:
        yield hub
    finally:
        hub.vanish()


class Listening(ThreadingHTTPServer):
    """Broken pipes of clients that were killed are no news."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


class Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the routes, sends the answer; faults happen here."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def handle_any(self) -> None:
        hub = self.hub
        parts = urlsplit(self.path)
        body = self.body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, unquote(parts.path), parse_qs(parts.query), headers, body)
        with hub.lock:
            hub.requests.append(request)
        if hub.faults.gone_after is not None and len(hub.requests) > hub.faults.gone_after:
            hub.vanish()
        if hub.gone:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        answer = self.broken(request) or routes.answer(hub, request)
        self.send(request, answer)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def broken(self, request: Request) -> Answer | None:
        """The answer of a hub that fails here."""
        with self.hub.lock:
            for part, (status, times) in self.hub.faults.status.items():
                if part in request.path and times:
                    self.hub.faults.status[part] = (status, times - 1)
                    return Answer(status, b"the hub is not well")
        return None

    def send(self, request: Request, answer: Answer) -> None:
        body, status = answer.body, answer.status
        wanted = request.headers.get("range", "")
        if status == 200 and wanted.startswith("bytes="):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) if last else len(body) - 1
            answer.headers["Content-Range"] = f"bytes {start}-{min(end, len(body) - 1)}/{len(body)}"
            body, status = body[start : end + 1], 206
        request.status = status
        self.send_response(status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if request.method != "HEAD":
            self.send_body(request, body)

    def send_body(self, request: Request, body: bytes) -> None:
        faults = self.hub.faults
        with self.hub.lock:
            part = next((p for p, times in faults.cut.items() if p in request.path and times and len(body) > 1), None)
            if part:
                faults.cut[part] -= 1
        for chunk in pieces(body[: len(body) // 2] if part else body, faults.bytes_per_second):
            self.wfile.write(chunk)
            request.sent += len(chunk)
        if part:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def pieces(body: bytes, bytes_per_second: float) -> Iterator[bytes]:
    """A body in pieces, a tenth of a second apart where it is to be slow."""
    step = max(1, int(bytes_per_second / 10)) if bytes_per_second else max(1, len(body))
    for start in range(0, len(body), step):
        yield body[start : start + step]
        if bytes_per_second:
            time.sleep(0.1)


def answer_json(content: Any, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})
