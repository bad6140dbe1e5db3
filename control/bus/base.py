"""Owns the bus's interface: at-least-once delivery with an exact forward.

`tests/conformance` is the precise meaning; every bus passes it.
"""

from collections.abc import Sequence
from typing import Protocol

from control.model.names import Group, Topic
from control.model.records import Delivery, Receipts, Record


class Subscription(Protocol):
    """What one group (or a tail) gets of one topic, in order within each partition."""

    async def receive(self) -> list[Delivery]:
        """Wait for records; at least one, at most `limits.RECEIVE_RECORDS_MAX`.

        A tail that has fallen behind by `limits.SUBSCRIPTION_RECORDS_MAX` raises
        `BusUnavailable`: what it missed is gone. Cancellation loses no record.
        """


class Bus(Protocol):
    """Topics of records. Each method is durable when it returns."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Put records on their topics."""

    async def forward(self, acked: Sequence[Receipts], published: Sequence[Record]) -> None:
        """Acknowledge and publish: both or neither, whatever dies in between."""

    async def subscribe(self, topic: Topic, group: Group) -> Subscription:
        """Join a group: every record that the group has not acknowledged, then the new ones."""

    async def tail(self, topic: Topic) -> Subscription:
        """Every record from now on; nothing is kept for it, nothing is acknowledged."""
