"""Owns the bus's interface: at-least-once delivery with an exact forward.

`tests/conformance` is the precise meaning; every bus passes it.
"""

from collections.abc import Sequence
from typing import Protocol

from control.model.bus.records import Delivery, Receipts, Record
from control.model.names import Group, Topic


class Subscription(Protocol):
    """What one group (or a tail) gets of one topic, in order within each partition."""

    @property
    def partitions(self) -> frozenset[int] | None:
        """The partitions this member of the group has now; None: all there are, for good."""

    async def receive(self) -> list[Delivery]:
        """Wait for records; at least one, at most `limits.RECEIVE_RECORDS_MAX`.

        Where members of a group divide the partitions, it gives none when `partitions` has
        changed. A partition that was taken away goes to its next member, with all that is not
        acknowledged, once this is called again: until then receipts for it are still taken.

        A tail that has fallen behind by `limits.SUBSCRIPTION_RECORDS_MAX` raises
        `BusUnavailable`: what it missed is gone. Raises `PartitionsLost` when others have taken
        this member for dead. Cancellation loses no record.
        """


class Bus(Protocol):
    """Topics of records. Each method is durable when it returns."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Put records on their topics."""

    async def forward(self, acked: Sequence[Receipts], published: Sequence[Record]) -> None:
        """Acknowledge and publish: both or neither, whatever dies in between.

        Raises `PartitionsLost`, and does neither, when others have taken this member of the group
        for dead: it starts over with a new subscription.
        """

    async def subscribe(self, topic: Topic, group: Group) -> Subscription:
        """Join a group: every record that the group has not acknowledged, then the new ones.

        Of the balancers one at a time is a member: the others wait here.
        """

    async def tail(self, topic: Topic) -> Subscription:
        """Every record from now on; nothing is kept for it, nothing is acknowledged."""
