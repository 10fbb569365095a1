"""Processes that are looked after: tiny ones of our own, and once the whole `ndogo serve`, killed in every way."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ndogo.core.errors import NdogoError
from ndogo.flows import supervision
from ndogo.flows.servers import basic, running
from ndogo.flows.supervision import Processes, Watched, recorded, stop_recorded

SLEEPER = ["-c", "import time; time.sleep(600)"]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def processes(tmp_path: Path, said: list[str]) -> Iterator[Processes]:
    made = Processes(tmp_path, said.append)
    yield made
    made.stop()


def watched(name: str = "sleeper", line: list[str] = SLEEPER, address: str = "here:1") -> Watched:
    return Watched(name, line, dict(os.environ), address)


def look_until(processes: Processes, there: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until
        processes.look()
        time.sleep(0.05)


def test_what_is_killed_is_started_again_and_two_lines_say_so(processes: Processes, said: list[str], monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.1)
    one = watched()
    one.pause = 0.1
    processes.start(one)
    first = one.process
    assert first is not None
    first.kill()
    look_until(processes, lambda: len(said) == 2)
    assert one.process is not None and one.process.pid != first.pid and one.process.is_running()
    assert "killed by SIGKILL" in said[0] and f"process {one.process.pid}" in said[1]


def test_the_pause_grows_while_it_dies_young(processes: Processes, said: list[str]):
    one = watched("faulty", ["-c", "raise SystemExit(3)"])
    one.pause = 0.05
    processes.start(one)
    look_until(processes, lambda: len([line for line in said if "ended" in line]) == 4)
    assert one.pause == pytest.approx(0.8), "doubled four times"
    assert "faulty ended (exit code 3); again in 0 s" in said[0]


def test_the_next_start_uses_what_a_killed_one_left(processes: Processes, tmp_path: Path, said: list[str]):
    processes.start(watched())
    second = Processes(tmp_path, said.append)
    one = watched()
    second.start(one)
    assert one.process is not None and processes.watched[0].process is not None
    assert one.process.pid == processes.watched[0].process.pid and "runs already" in said[-1]
    other = watched(address="here:2")
    second.start(other)
    assert other.process is not None and other.process.pid != one.process.pid, "another address is another server"
    second.stop()


def test_stop_takes_along_what_the_process_started(processes: Processes, tmp_path: Path):
    child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEPER[1]!r}]); time.sleep(600)"
    one = watched("parent", ["-c", child])
    processes.start(one)
    assert one.process is not None
    look_until(processes, lambda: one.process.children())
    (grandchild,) = one.process.children()
    assert stop_recorded(tmp_path) == ["parent"], "the note of this very process is not a server"
    look_until(processes, lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)
    assert recorded(tmp_path) == {} and stop_recorded(tmp_path) == []


def test_a_number_that_another_process_has_now_is_left_alone(tmp_path: Path):
    note = {"pid": os.getppid(), "begun": 1.0, "address": "here:1"}
    (tmp_path / "servers.json").write_text(json.dumps({"sleeper": note}))
    assert stop_recorded(tmp_path) == [] and psutil.pid_exists(note["pid"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sleeper": {}}'])
def test_a_broken_note_is_no_note(tmp_path: Path, text: str):
    (tmp_path / "servers.json").write_text(text)
    assert stop_recorded(tmp_path) == []


def test_a_taken_port_is_refused_with_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NDOGO_HOME", str(tmp_path))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with (
            pytest.raises(NdogoError, match=f"is taken by process {os.getpid()} ") as refused,
            running(held.getsockname()[1], 1),
        ):
            pass
    assert "--prefect-port" in str(refused.value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.servers
@pytest.mark.timeout(900)
def test_serve_lives_through_kills_and_leaves_nothing(tmp_path: Path):
    """One `ndogo serve` after the other, as a person starts them."""
    told = os.environ | {"NDOGO_HOME": str(tmp_path / "home")}
    ports = {"prefect": free_port(), "mlflow": free_port()}
    line = [sys.executable, "-m", "ndogo", "serve"]
    line += [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    home = tmp_path / "home"

    def serve(name: str) -> tuple[subprocess.Popen[bytes], Callable[[str], bool]]:
        out = tmp_path / name
        with out.open("w") as sink:
            process = subprocess.Popen(line, env=told, stdout=sink, stderr=sink)

        def says(word: str) -> bool:
            assert process.poll() is None or word in out.read_text(), out.read_text()
            return word in out.read_text()

        until(lambda: says("Ready."))
        return process, says

    first, says = serve("first")
    try:
        deployed = urllib.request.Request(
            f"http://127.0.0.1:{ports['prefect']}/api/deployments/name/sweep/recipes", headers=basic(home)
        )
        with urllib.request.urlopen(deployed, timeout=20) as answer:
            assert json.load(answer)["status"] == "READY", "ready means that the deployments answer"
        paths = {"mlflow": "/health", "prefect": "/api/health"}
        for name in paths:
            os.kill(recorded(home)[name]["pid"], signal.SIGKILL)
        for name, path in paths.items():
            until(lambda name=name: says(f"{name} is started again"))
            until(lambda name=name, path=path: healthy(f"http://127.0.0.1:{ports[name]}{path}"))
        again = subprocess.run(line, env=told, capture_output=True, text=True, timeout=120)
        assert again.returncode == 1 and f"process {first.pid}" in again.stderr, again.stderr

        until(lambda: "deployments" in recorded(home) and psutil.pid_exists(recorded(home)["deployments"]["pid"]))
        first.kill()
        first.wait()
        left = {name: note["pid"] for name, note in recorded(home).items() if name != "serve"}
        second, says = serve("second")
        assert says("prefect runs already") and says("mlflow runs already")
        assert {recorded(home)[name]["pid"] == left[name] for name in ("prefect", "mlflow")} == {True}
        second.send_signal(signal.SIGHUP)
        assert second.wait(timeout=120) == 0
        assert [pid for pid in left.values() if psutil.pid_exists(pid)] == []
        assert not any(healthy(f"http://127.0.0.1:{port}/health") for port in ports.values())
        stop = subprocess.run([*line, "--stop"], env=told, capture_output=True, text=True, timeout=120)
        assert (stop.returncode, stop.stdout.strip()) == (0, "No servers run.")
    finally:
        stop_recorded(home)


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + 300
    while not there():
        assert time.monotonic() < end
        time.sleep(0.3)


def healthy(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
        return True
    return False
