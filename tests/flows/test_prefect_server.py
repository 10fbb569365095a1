"""Prefect's server as we run it: closed to whoever does not show the login, and calm when many runs end at once."""

import asyncio
import contextlib
import http.server
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from ndogo.core.errors import NdogoError
from ndogo.flows import alarm
from ndogo.flows.deployments import ZOMBIES, ensure_automation
from ndogo.flows.login import PROFILES, login
from ndogo.flows.servers import Addresses, basic, environment, running

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
EVIL = "https://evil.example"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attack") / ".ndogo"


@pytest.fixture(scope="module")
def servers(home: Path) -> Iterator[Addresses]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NDOGO_HOME", str(home))
        with running(free_port(), free_port(), runs=False) as servers:
            yield servers.addresses


def ask(address: str, body: object = None, method: str | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", **headers}
    request = urllib.request.Request(address, data=data, headers=sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}


@pytest.mark.parametrize(
    ("path", "body", "method"),
    [
        ("/deployments/filter", {}, "POST"),
        ("/flows/", {"name": "theirs"}, "POST"),
        ("/deployments/5b3f0a4c-0000-4000-8000-000000000000", {"pull_steps": []}, "PATCH"),
        ("/flows/5b3f0a4c-0000-4000-8000-000000000000", None, "GET"),
    ],
)
def test_a_foreign_page_neither_reads_nor_changes_anything_in_prefect(servers: Addresses, path, body, method):
    status, headers = ask(f"{servers.prefect}/api{path}", body, method, Origin=EVIL)
    assert (status, headers.get("access-control-allow-origin")) == (401, None)
    asked = {"Origin": EVIL, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    status, headers = ask(f"{servers.prefect}/api{path}", None, "OPTIONS", **asked)
    assert (status, headers.get("access-control-allow-origin")) == (400, None)


def test_a_wrong_login_is_none(servers: Addresses):
    for wrong in ("Basic bmRvZ286bmRvZ28=", "Bearer x", "Basic"):
        assert ask(f"{servers.prefect}/api/flows/filter", {}, Authorization=wrong)[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4200", "127.0.0.1.evil.example", "10.evil.example:5000"]
)
def test_a_name_that_turns_to_loopback_is_refused_even_with_the_login(servers: Addresses, home: Path, host: str):
    assert ask(f"{servers.prefect}/api/flows/filter", {}, **basic(home))[0] == 200
    assert ask(f"{servers.prefect}/api/flows/filter", {}, Host=host, **basic(home))[0] == 400
    assert ask(f"{servers.prefect}/dashboard", Host=host)[0] == 400
    search = f"{servers.mlflow}/api/2.0/mlflow/experiments/search"
    assert ask(search, {"max_results": 1})[0] == 200
    assert ask(search, {"max_results": 1}, Host=host)[0] == 403


def test_a_foreign_page_changes_nothing_in_mlflow(servers: Addresses):
    made = f"{servers.mlflow}/api/2.0/mlflow/experiments/create"
    assert ask(made, {"name": "theirs"}, Origin=EVIL)[0] == 403
    status, headers = ask(f"{servers.mlflow}/api/2.0/mlflow/experiments/get?experiment_id=0", Origin=EVIL)
    assert headers.get("access-control-allow-origin") is None, status


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_prefects_own_page_is_let_in(servers: Addresses, home: Path, name: str):
    own = f"http://{name}:{servers.prefect.rsplit(':', 1)[1]}"
    status, headers = ask(f"{servers.prefect}/api/flows/filter", {}, Origin=own, **basic(home))
    assert (status, headers["access-control-allow-origin"]) == (200, own)
    with urllib.request.urlopen(f"{servers.prefect}/ui-settings", timeout=20) as answer:
        assert json.load(answer)["auth"] == "BASIC", "the page asks for the login"


@pytest.mark.parametrize("path", ["/api/events/in", "/api/events/out", "/api/logs/out"])
def test_no_socket_opens_without_the_login(servers: Addresses, path: str):
    address = servers.prefect.replace("http", "ws") + path
    with pytest.raises((WebSocketException, ConnectionError)), connect(address, open_timeout=20) as line:
        line.send(json.dumps({"type": "auth", "token": "ndogo:ndogo"}))
        line.recv(timeout=20)
    with pytest.raises((WebSocketException, ConnectionError)), connect(address, subprotocols=["prefect"]) as line:
        line.send(json.dumps({"type": "auth", "token": "ndogo:ndogo"}))
        assert json.loads(line.recv(timeout=20))["type"] != "auth_success"


def test_the_login_is_its_owners_alone(servers: Addresses, home: Path):
    file = home / PROFILES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = login(home)
    assert login(home) == secret and len(secret) > 20, "made once"
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if secret in line] == []
    logs = "".join(log.read_text(errors="replace") for log in (home / "logs").glob("*.log"))
    assert secret not in logs and servers.prefect
    tracked = subprocess.run(["git", "check-ignore", ".ndogo/prefect/login.toml"], cwd=ROOT, capture_output=True)
    assert tracked.returncode == 0, "git does not see it"


def test_the_command_line_finds_the_login_without_being_told(servers: Addresses, home: Path):
    """README's commands in another terminal: a folder with prefect.toml and .ndogo, and no variable of ours."""
    project = home.parent
    text = (ROOT / "prefect.toml").read_text(encoding="utf-8").replace("http://127.0.0.1:4200", servers.prefect)
    (project / "prefect.toml").write_text(text, encoding="utf-8")
    told = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NDOGO_"))}
    line = [sys.executable, "-m", "prefect", "deployment", "ls"]
    done = subprocess.run(line, cwd=project, env=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    without = told | {"PREFECT_PROFILES_PATH": str(project / "nothing.toml")}
    done = subprocess.run(line, cwd=project, env=without, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "401" in done.stdout + done.stderr


def test_prefects_server_does_not_start_without_a_login(home: Path):
    told = environment(home, {"prefect": free_port(), "mlflow": free_port()})
    line = [sys.executable, "-m", "ndogo.flows.prefect_server"]
    done = subprocess.run(line, env=told, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "would answer everybody" in done.stderr


def test_the_automation_is_there_once_however_often_the_runner_starts(servers: Addresses, home: Path):
    told = {PREFECT_API_URL: f"{servers.prefect}/api", PREFECT_API_AUTH_STRING: login(home)}
    with temporary_settings(told):
        for _ in range(2):
            ensure_automation()
        with get_client(sync_client=True) as client:
            (found,) = client._client.post("/automations/filter", json={}).raise_for_status().json()
            client._client.delete(f"/automations/{found['id']}").raise_for_status()
    assert (found["name"], found["trigger"]["expect"]) == ("ndogo-crash-zombies", ["prefect.flow-run.*"])


def test_a_refused_run_reaches_a_person_and_a_good_one_does_not(servers: Addresses, home: Path, monkeypatch):
    """The refused one is a nightly run: Prefect tells nobody that it scheduled it, and must not wait to be told."""
    with receiver() as (address, heard):
        monkeypatch.setenv(alarm.VARIABLE, address)
        with temporary_settings({PREFECT_API_URL: f"{servers.prefect}/api", PREFECT_API_AUTH_STRING: login(home)}):
            for _ in range(2):
                alarm.ensure()

        async def play() -> list[str]:
            runs = Runs(servers, home)
            async with runs.client:
                flow = (await runs.post("/flows/", {"name": "nights"}))["id"]
                began: dict[str, str] = {}
                for name, tags in (("good", ["ndogo"]), ("theirs", [])):
                    asked = {"flow_id": flow, "name": name, "tags": tags, "state": {"type": "RUNNING"}}
                    began[name] = (await runs.post("/flow_runs/", asked))["id"]
                began["bad"] = await runs.scheduled(flow)
                for kind in ("PENDING", "RUNNING"):
                    await runs.state(began["bad"], kind)
                for name, kind in (("good", "COMPLETED"), ("theirs", "FAILED"), ("bad", "FAILED")):
                    ended = {"type": kind, "name": kind.title(), "message": f"{name}: ner fell by 4.0 points"}
                    await runs.post(f"/flow_runs/{began[name]}/set_state", {"state": ended})
                until = time.monotonic() + 120
                while not heard and time.monotonic() < until:
                    await asyncio.sleep(0.2)
                await asyncio.sleep(3)  # a second one would come about now
                shown = await runs.client.post("/block_documents/filter", json={"include_secrets": False})
                assert address not in shown.text, "the address is a secret"
            return runs.refused

        assert asyncio.run(play()) == []
    (told,) = heard
    subject, message, page = told["text"].split("\n")
    assert subject.startswith("Ndogo: ") and subject.endswith(" Failed")
    assert message == "bad: ner fell by 4.0 points" and page.startswith("http://")


def test_an_alarm_that_cannot_be_called_is_refused_at_the_start(monkeypatch):
    monkeypatch.setenv(alarm.VARIABLE, "ops@example.org")
    with pytest.raises(NdogoError, match="NDOGO_ALARM"), running(1, 2):
        pass


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, list[dict]]]:
    """The address of a hook on loopback, and the messages that it took."""
    heard: list[dict] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook?token=secret", heard
        server.shutdown()


class Runs:
    """Flow runs as their processes drive them, by Prefect's API."""

    def __init__(self, servers: Addresses, home: Path) -> None:
        self.client = httpx.AsyncClient(base_url=f"{servers.prefect}/api", headers=basic(home), timeout=240)
        self.refused: list[str] = []

    async def post(self, path: str, body: object) -> dict:
        answer = await self.client.post(path, json=body)
        if not answer.is_success:
            self.refused.append(f"{path} {answer.status_code} {answer.text[:100]}")
        return answer.json() if answer.content else {}

    async def state(self, run: str, kind: str, force: bool = False) -> None:
        state = {"type": kind, "name": kind.title()}
        await self.post(f"/flow_runs/{run}/set_state", {"state": state, "force": force})

    async def scheduled(self, flow: str) -> str:
        """A run that Prefect's own scheduler made, for a deployment of ours."""
        daily = {"schedule": {"interval": 86_400}, "active": True}
        asked = {"flow_id": flow, "name": "nightly", "tags": ["ndogo"], "schedules": [daily]}
        made = (await self.post("/deployments/", asked))["id"]
        until = time.monotonic() + 120
        while not (found := await self.post("/flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [made]}}})):
            assert time.monotonic() < until
            await asyncio.sleep(0.2)
        return found[0]["id"]

    async def running(self, flow: str) -> str:
        """A run that has sent a heartbeat."""
        run = (await self.post("/flow_runs/", {"flow_id": flow, "state": {"type": "PENDING"}})).get("id", "none")
        await self.state(run, "RUNNING")
        resource = {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.name": "run"}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        beat = {"id": run, "event": "prefect.flow-run.heartbeat", "occurred": now, "resource": resource}
        await self.post("/events", [beat])
        return run

    async def kinds(self, runs: list[str]) -> list[str]:
        answers = [await self.client.get(f"/flow_runs/{run}") for run in runs]
        return [answer.json()["state_type"] for answer in answers]


def test_fifty_runs_end_at_once_and_only_the_dead_one_is_called_so(servers: Addresses, home: Path):
    automation = yaml.safe_load(ZOMBIES.read_text(encoding="utf-8"))
    automation["trigger"]["within"] = 30

    async def play() -> tuple[list[str], list[str], set[str]]:
        runs = Runs(servers, home)
        async with runs.client:
            flow = (await runs.post("/flows/", {"name": "ends"}))["id"]
            await runs.post("/automations/", automation)
            many = await asyncio.gather(*(runs.running(flow) for _ in range(52)))
            dead, waiting, *ended = many
            await asyncio.gather(
                runs.state(waiting, "SCHEDULED", True), *(runs.state(run, "COMPLETED") for run in ended)
            )
            until = time.monotonic() + 240
            while (kinds := await runs.kinds([dead, waiting]))[0] != "CRASHED" and time.monotonic() < until:
                await asyncio.sleep(1)
            await asyncio.sleep(10)  # whatever else was to come comes with it
            acted = {"filter": {"event": {"name": ["prefect.automation.action.triggered"]}}, "limit": 50}
            found = (await runs.post("/events/filter", acted))["events"]
            assert [kind for kind in await runs.kinds(ended) if kind != "COMPLETED"] == []
            fired = {run for event in found for run in runs_of(event)}
            assert dead in fired
            return runs.refused, kinds, fired - {dead}

    refused, kinds, wrong = asyncio.run(play())
    assert refused == []
    assert kinds == ["CRASHED", "SCHEDULED"], "the dead one, and the one that waits to be taken up again"
    assert wrong == set(), "the automation fired on a run that lived or had ended"
    assert "database is locked" not in (home / "logs" / "prefect.log").read_text()


def runs_of(event: dict) -> list[str]:
    """The runs that an event of an automation is about."""
    prefix = "prefect.flow-run."
    ids = [resource["prefect.resource.id"] for resource in event["related"]]
    return [one.removeprefix(prefix) for one in ids if one.startswith(prefix)]
