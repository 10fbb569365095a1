"""Prefect's events in memory, handled one after the other, in the order in which they came.

Prefect's own handles two at a time. The last heartbeat of a run and its end can then change places, the automation for
dead machines waits for a sign of life of a run that has ended, and fires. Prefect takes this module by its settings
PREFECT_MESSAGING_BROKER, for which it looks for the first four names, and PREFECT_SERVER_EVENTS_CAUSAL_ORDERING.
"""

from typing import Any

from prefect.server.events.ordering import memory as ordering
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.utilities.messaging import memory
from prefect.server.utilities.messaging.memory import Publisher, break_topic, ephemeral_subscription

__all__ = ["CausalOrdering", "Consumer", "Publisher", "break_topic", "ephemeral_subscription"]


class Consumer(memory.Consumer):
    """One event at a time."""

    def __init__(self, topic: str, subscription: memory.Subscription | None = None, **more: Any) -> None:
        super().__init__(topic, subscription, **{**more, "concurrency": 1})


class CausalOrdering(ordering.CausalOrdering):
    """No event waits for the one that it follows: they come in order.

    Prefect's own keeps it back for 15 minutes where it has not seen the other. Of a run that was scheduled it never does, and of
    one that took over half an hour it has forgotten it: the alarm came that late, and finished runs were taken for dead.
    """

    async def wait_for_leader(self, event: ReceivedEvent) -> None:
        """Let it pass."""
