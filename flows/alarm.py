"""The alarm: what goes wrong at night reaches a person, by a web hook that Prefect calls."""

import os
from pathlib import Path
from urllib.parse import urlparse

import yaml

from ndogo.core.errors import NdogoError

VARIABLE = "NDOGO_ALARM"
"""The environment variable with the address of the hook. It is a secret: whoever knows it can write there."""
NAME = "ndogo-alarm"
"""Of the automation, and of the block with the address."""
AUTOMATION = Path(__file__).with_name("alarm.yaml")


def hook() -> str:
    """The address that is called; nothing where nobody asked for alarms.

    :raises NdogoError: it is no address of the web.
    """
    given = os.environ.get(VARIABLE, "")
    parts = urlparse(given)
    if given and (parts.scheme not in ("http", "https") or not parts.netloc):
        raise NdogoError(
            "The alarm has no address that can be called.",
            where=f"${VARIABLE}",
            cure="Give one that begins with https://",
        )
    return given


def ensure() -> None:
    """Let Prefect call the hook, where one is given. An automation that is there stays as a person left it.

    :raises NdogoError: the address is none.
    """
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.types import SecretDict

    from ndogo.flows import automations

    if not (address := hook()):
        return
    block = CustomWebhookNotificationBlock(
        name=NAME,
        url="{{address}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
        secrets=SecretDict({"address": address}),  # so that neither the page nor a log shows it
    )
    saved = block.save(NAME, overwrite=True)
    wanted = yaml.safe_load(AUTOMATION.read_text(encoding="utf-8"))
    wanted["actions"][0]["block_document_id"] = str(saved)
    automations.ensure(wanted)
