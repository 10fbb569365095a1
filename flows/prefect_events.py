"""Prefect's events in memory, handled one after the other, in the order in which they came.

Prefect's own handles two at a time. The last heartbeat of a run and its end can then change places, the automation for
dead machines waits for a sign of life of a run that has ended, and fires. Prefect takes this module by its setting
PREFECT_MESSAGING_BROKER, and looks for these four names.
"""

from typing import Any

from prefect.server.utilities.messaging import memory
from prefect.server.utilities.messaging.memory import Publisher, break_topic, ephemeral_subscription

__all__ = ["Consumer", "Publisher", "break_topic", "ephemeral_subscription"]


class Consumer(memory.Consumer):
    """One event at a time."""

    def __init__(self, topic: str, subscription: memory.Subscription | None = None, **more: Any) -> None:
        super().__init__(topic, subscription, **{**more, "concurrency": 1})
