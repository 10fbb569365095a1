"""The containers, as far as that can be known without an engine: pinned, loopback only, and made of things that are there."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")


def test_images_are_pinned_and_nothing_runs_as_root():
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) == ["${BASE}", "${BASE}"]
    (base,) = re.findall(r"^ARG BASE=(\S+)", DOCKERFILE, re.M)
    assert re.search(r":\d+\.\d+", base) and base in COMPOSE["x-app"]["build"]["args"]["BASE"]
    assert "USER 10001" in DOCKERFILE
    (pages,) = re.findall(r"PREFECT_SERVER_UI_STATIC_DIRECTORY=(\S+)", DOCKERFILE)
    assert pages.startswith("/home/ndogo/"), "Prefect's server writes its page at its start"
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


def test_no_password_is_part_of_a_command_or_an_address():
    for name, service in COMPOSE["services"].items():
        secret = [str(word) for word in service.get("command", []) if "PASSWORD" in str(word)]
        told = {k: v for k, v in service.get("environment", {}).items() if "PASSWORD" in str(v)}
        assert secret == [] and [k for k, v in told.items() if "://" in str(v)] == [], name
    assert {"BASE", "TORCH_INDEX"} <= set(COMPOSE["x-app"]["build"]["args"]), "what the build takes can be given"


def test_every_service_is_limited():
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"] and service["pids_limit"] and service["mem_limit"], name
        assert set(service.get("cap_add", [])) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}, name
    assert "-h" in COMPOSE["services"]["postgres"]["healthcheck"]["test"], "its socket answers before it is ready"


def test_who_depends_on_whom_waits_for_health():
    for service in COMPOSE["services"].values():
        for name, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in COMPOSE["services"][name]


def test_mlflow_knows_every_option_that_it_is_given():
    program, *words = COMPOSE["services"]["mlflow"]["command"]
    verbs = [w for w in words if not w.startswith("-") and not w.replace(".", "").isdigit()]
    told = subprocess.run(
        [sys.executable, "-m", program, *verbs, "--help"], capture_output=True, text=True, timeout=120
    )
    options = [w.split("=")[0] for w in words if w.startswith("--")]
    assert [option for option in options if option not in told.stdout] == []


def test_the_servers_ask_for_a_login_and_answer_to_their_own_names_only():
    server, worker, mlflow = (COMPOSE["services"][name] for name in ("prefect", "worker", "mlflow"))
    assert server["command"] == ["python", "-m", "ndogo.flows.prefect_server"], "the one that checks the Host header"
    given = server["environment"]
    assert given["PREFECT_SERVER_API_AUTH_STRING"].startswith("ndogo:${NDOGO_PREFECT_PASSWORD:?")
    assert worker["environment"]["PREFECT_API_AUTH_STRING"] == given["PREFECT_SERVER_API_AUTH_STRING"]
    assert "*" not in given["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] + given["NDOGO_PREFECT_HOSTS"]
    names = {environment["PREFECT_API_URL"].split("/")[2].split(":")[0] for environment in [worker["environment"]]}
    assert names <= set(given["NDOGO_PREFECT_HOSTS"].split(","))
    (hosts,) = [word for word in mlflow["command"] if word.startswith("--allowed-hosts=")]
    assert "*" not in hosts and "mlflow:5000" in hosts


def test_the_worker_runs_the_module_that_the_server_test_drives():
    assert COMPOSE["services"]["worker"]["command"] == ["python", "-m", "ndogo.flows.deployments"]
    assert '["python", "-m", "ndogo.flows.deployments"]' in DOCKERFILE
