"""The language table, the served deployments and prefect.yaml say the same."""

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.testing.utilities import prefect_test_harness

from ndogo.flows.deployments import ZOMBIES, deployments
from ndogo.flows.login import PROFILES
from ndogo.flows.servers import PORTS, environment
from ndogo.registry.languages import languages
from ndogo.steps.step import kinds
from ndogo.tasks.steps import tags_of

ROOT = Path(__file__).parents[2]


def test_every_language_is_a_nightly_deployment_in_its_own_zone():
    served = {d.name: d for d in deployments() if d.flow_name == "compress"}
    assert set(served) == set(languages())
    for name, entry in languages().items():
        assert served[name].flow_name == "compress"
        assert served[name].parameters == {"language": name}
        nightly = [(s.schedule.cron, s.schedule.timezone, s.slug) for s in served[name].schedules]
        assert nightly == [("0 2 * * *", entry.timezone, "nightly")] * entry.nightly
    assert [name for name, entry in languages().items() if not entry.nightly] == ["english"]


def test_prefect_yaml_cannot_drift_from_the_language_table():
    written = {d["name"]: d for d in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]}
    served = {d.name: d for d in deployments()}
    assert set(written) == set(served)
    sweep = written.pop("recipes")
    assert sweep["entrypoint"] == served["recipes"].entrypoint == "ndogo/flows/sweep.py:sweep"
    assert sweep["parameters"] == served["recipes"].parameters
    for name, entry in written.items():
        assert entry["entrypoint"] == served[name].entrypoint
        assert entry["parameters"] == served[name].parameters
        written_down = [(s["cron"], s["timezone"]) for s in entry["schedules"]]
        assert written_down == [(s.schedule.cron, s.schedule.timezone) for s in served[name].schedules]
        assert entry["concurrency_limit"]["limit"] == 1


def test_what_the_embedded_servers_are_told_is_what_prefect_toml_says():
    written = tomllib.loads((ROOT / "prefect.toml").read_text(encoding="utf-8"))
    told = environment(Path("home"), PORTS)
    assert told["PREFECT_API_URL"] == written["api"]["url"]
    assert told["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(written["flows"]["heartbeat_frequency"])
    assert told["PREFECT_RUNNER_POLL_FREQUENCY"] == str(written["runner"]["poll_frequency"])
    assert told["PREFECT_LOGGING_EXTRA_LOGGERS"] == written["logging"]["extra_loggers"]
    assert Path(written["profiles_path"]) == ".ndogo" / PROFILES
    beats = yaml.safe_load(ZOMBIES.read_text(encoding="utf-8"))["trigger"]["within"] / 30
    assert beats == 6, "missed heartbeats before a run is called dead"


def test_parameters_explain_themselves_and_are_limited_to_what_there_is():
    schema = deployments()[0]._parameter_openapi_schema.model_dump()["properties"]
    assert all(field.get("description") for field in schema.values())
    assert schema["language"]["enum"] == list(languages())
    assert "two-step" in schema["recipe"]["anyOf"][0]["enum"]


def written() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))


def prefects_own(kind: str) -> dict[str, Any]:
    """The base job template that Prefect gives a new pool of a kind."""
    views = files("prefect.server.api.collections_data") / "views" / "aggregate-worker-metadata.json"
    workers = {name: w for group in json.loads(views.read_text(encoding="utf-8")).values() for name, w in group.items()}
    return workers[kind]["default_base_job_configuration"]


def kubernetes_template() -> dict[str, Any]:
    return json.loads((ROOT / "docker" / "kubernetes.json").read_text(encoding="utf-8"))


def test_each_pool_takes_the_job_variables_it_is_given():
    definitions = written()["definitions"]
    templates = {"docker": prefects_own("docker"), "kubernetes": kubernetes_template()}
    for kind, template in templates.items():
        given = definitions[kind]["work_pool"]["job_variables"]
        assert set(given) <= set(template["variables"]["properties"])
        assert list(Draft202012Validator(template["variables"]).iter_errors(given)) == []
        assert definitions[kind]["pull"] == [
            {"prefect.deployments.steps.set_working_directory": {"directory": "/app"}}
        ], "the image holds the code there"
    assert definitions["where"] == definitions["process"], "the default needs no engine"


def test_all_deployments_go_where_one_word_says():
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    for kind in ("docker", "kubernetes"):
        turned = yaml.safe_load(text.replace("<<: *process", f"<<: *{kind}"))
        assert {d["work_pool"]["name"] for d in turned["deployments"]} == {f"ndogo-{kind}"}
        assert all(d["pull"] == turned["definitions"][kind]["pull"] for d in turned["deployments"])


def test_the_kubernetes_template_is_prefects_own_with_a_store_and_gpus():
    ours, own = kubernetes_template(), prefects_own("kubernetes")
    added = set(ours["variables"]["properties"]) - set(own["variables"]["properties"])
    assert added == {"store_claim", "gpus", "shared_memory"}
    for name, field in own["variables"]["properties"].items():
        assert ours["variables"]["properties"][name] == field
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(ours["job_configuration"])))
    assert used == set(ours["variables"]["properties"])
    pod = ours["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["volumeMounts"][0] == {"name": "store", "mountPath": "/store"}


@pytest.mark.parametrize("kind", ["adapt", "distil", "trim", "prune_ffn"])
def test_steps_that_use_a_gpu_carry_the_tag_that_limits_them(kind: str):
    assert ("gpu" in tags_of(kinds()[kind])) == (kind in ("adapt", "distil"))


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_the_form_has_dropdowns_and_takes_a_recipe_of_ones_own():
    """A field left empty, and a recipe that was written after the deployments were served, pass Prefect's own check."""
    with prefect_test_harness(server_startup_timeout=400), get_client(sync_client=True) as client:
        (served,) = [d for d in deployments() if d.name == "swahili"]
        form = served._parameter_openapi_schema.model_dump()["properties"]
        for field, known in (
            ("profile", ["pocket", "local", "hub"]),
            ("mode", ["probe", "finetune", "own", "adapter"]),
        ):
            asked = form[field]  # a string that may be nothing has no field at all on Prefect's page
            assert (asked["type"], asked["enum"], asked["default"]) == ("string", ["default", *known], "default")
        made = served.apply()
        for more in (
            {},
            {"recipe": "written-later", "profile": "default", "mode": "default"},
            {"recipe": "two-step", "profile": "local"},
        ):
            run = client.create_flow_run_from_deployment(made, parameters={"language": "swahili"} | more)
            assert run.parameters.items() >= more.items()
        with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
            client.create_flow_run_from_deployment(made, parameters={"language": "swahili", "mode": "foo"})
