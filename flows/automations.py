"""Automations of ours on Prefect's server, each known by its name."""

from collections.abc import Callable
from typing import Any

from prefect.client.orchestration import get_client


def ensure(wanted: dict[str, Any], renewed: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
    """Make the automation, where there is none of its name. `renewed` makes of one that is there what it is to be; without it
    that one stays as a person left it.
    """
    with get_client(sync_client=True) as client:
        api, named = client._client, {"automations": {"name": {"any_": [wanted["name"]]}}}
        found = api.post("/automations/filter", json=named).raise_for_status().json()
        if not found:
            api.post("/automations/", json=wanted).raise_for_status()
        elif renewed is not None:
            for automation in found:
                api.put(f"/automations/{automation['id']}", json=renewed(automation)).raise_for_status()
