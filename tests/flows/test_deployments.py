"""The language table, the served deployments and prefect.yaml say the same."""

from pathlib import Path

import yaml

from flows.deployments import deployments
from registry.languages import languages

ROOT = Path(__file__).parents[2]


def test_every_language_is_a_nightly_deployment_in_its_own_zone():
    served = {d.name: d for d in deployments() if d.flow_name == "compress"}
    assert set(served) == set(languages())
    for name, entry in languages().items():
        assert served[name].flow_name == "compress"
        assert served[name].parameters == {"language": name}
        (schedule,) = served[name].schedules
        assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 2 * * *", entry.timezone)
        assert schedule.slug == "nightly"


def test_prefect_yaml_cannot_drift_from_the_language_table():
    written = {d["name"]: d for d in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]}
    served = {d.name: d for d in deployments()}
    assert set(written) == set(served)
    assert written.pop("recipes")["entrypoint"] == served["recipes"].entrypoint == "flows/sweep.py:sweep"
    for name, entry in written.items():
        assert entry["entrypoint"] == served[name].entrypoint
        assert entry["parameters"] == served[name].parameters
        (schedule,) = entry["schedules"]
        (other,) = served[name].schedules
        assert (schedule["cron"], schedule["timezone"]) == (other.schedule.cron, other.schedule.timezone)
        assert entry["concurrency_limit"]["limit"] == 1


def test_parameters_explain_themselves_and_are_limited_to_what_there_is():
    schema = deployments()[0]._parameter_openapi_schema.model_dump()["properties"]
    assert all(field.get("description") for field in schema.values())
    assert schema["language"]["enum"] == list(languages())
    assert "two-step" in schema["recipe"]["enum"]
