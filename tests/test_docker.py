"""The containers, as far as that can be known without an engine: pinned, loopback only, and made of things that are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")


def test_images_are_pinned_and_nothing_runs_as_root():
    assert all(re.search(r":\d+\.\d+", line) for line in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M))
    assert "USER 10001" in DOCKERFILE
    assert re.search(r":\d+\.\d+", COMPOSE["services"]["postgres"]["image"])


def test_everything_that_is_copied_is_there():
    copied = [w for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.M) for w in line.split()[:-1]]
    assert [path for path in copied if not (ROOT / path).exists()] == []
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(copied)


def test_nothing_is_published_beyond_loopback_and_no_secret_is_written_down():
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert COMPOSE["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${NDOGO_DB_PASSWORD:?")


def test_who_depends_on_whom_waits_for_health():
    for service in COMPOSE["services"].values():
        for name, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in COMPOSE["services"][name]


@pytest.mark.parametrize("name", ["prefect", "mlflow"])
def test_the_servers_know_every_option_that_they_are_given(name: str):
    program, *words = COMPOSE["services"][name]["command"]
    verbs = [w for w in words if not w.startswith("-") and not w.replace(".", "").isdigit()]
    told = subprocess.run(
        [sys.executable, "-m", program, *verbs, "--help"], capture_output=True, text=True, timeout=120
    )
    options = [w.split("=")[0] for w in words if w.startswith("--")]
    assert [option for option in options if option not in told.stdout] == []


def test_the_worker_runs_the_module_that_the_server_test_drives():
    assert COMPOSE["services"]["worker"]["command"] == ["python", "-m", "ndogo.flows.deployments"]
    assert '["python", "-m", "ndogo.flows.deployments"]' in DOCKERFILE
