"""Owns the embedded bus: topics as tables in the state file, delivery in memory.

The journal takes part in every commit of the state's writer: whatever a piece of work publishes
and acknowledges is one row a topic and partition and one row a group, for the whole group of
pieces. After the commit, subscribers get the published objects themselves; the tables serve
restarts, and subscribers that fell behind.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import trio

from control.bus.embedded.log import Journal
from control.model import limits
from control.model.bus.records import Delivery, Receipts, Record
from control.model.errors import BusUnavailable
from control.model.names import Group, Topic
from store.database.connection import Connection

T = TypeVar("T")


class Transaction(Protocol):
    """The part of the writer's transaction that the bus uses."""

    @property
    def conn(self) -> Connection:
        """The connection inside its transaction."""

    def publish(self, records: Sequence[Record]) -> None:
        """Put records on the bus, in this transaction."""

    def ack(self, receipts: Sequence[Receipts]) -> None:
        """Mark records as finished, in this transaction."""


class Write(Protocol):
    """The writer's `insist`: runs a piece of work in a transaction, however long that takes."""

    def __call__(self, work: Callable[[Transaction], T], /) -> Awaitable[T]:
        """Give back what the work returned."""


class EmbeddedBus:
    """The bus of a single process. Passes `tests/conformance`."""

    def __init__(self, journal: Journal, write: Write) -> None:
        self._journal = journal
        self._write = write

    async def publish(self, records: Sequence[Record]) -> None:
        """Put records on their topics."""
        await self._write(lambda tx: tx.publish(records))

    async def forward(self, acked: Sequence[Receipts], published: Sequence[Record]) -> None:
        """Acknowledge and publish in one transaction."""

        def work(tx: Transaction) -> None:
            tx.ack(acked)
            tx.publish(published)

        await self._write(work)

    async def subscribe(self, topic: Topic, group: Group) -> "EmbeddedSubscription":
        """Join a group at its stored progress."""
        positions = await self._write(lambda tx: self._journal.join(tx.conn, topic, group))
        subscription = EmbeddedSubscription(self._journal, self._write, topic, group, positions)
        self._journal.attach(topic, subscription.offer)
        return subscription

    async def tail(self, topic: Topic) -> "EmbeddedSubscription":
        """Every record from now on."""
        subscription = EmbeddedSubscription(self._journal, self._write, topic, None, None)
        self._journal.attach(topic, subscription.offer)
        await trio.lowlevel.checkpoint()
        return subscription


class EmbeddedSubscription:
    """Records for one reader, in memory up to a limit; beyond it they are read back."""

    def __init__(
        self,
        journal: Journal,
        write: Write,
        topic: Topic,
        group: Group | None,
        positions: dict[int, int] | None,
    ) -> None:
        self._journal = journal
        self._write = write
        self._topic = topic
        self._group = group
        self._positions = positions  # None: a tail.
        self._records: deque[Delivery] = deque()
        self._arrived = trio.Event()
        self._overrun = False
        self._behind = positions is not None
        self._held: list[tuple[int, Sequence[Delivery]]] | None = None  # A list: during a read.

    @property
    def partitions(self) -> None:
        """All there are: every service runs in this process."""

    def offer(self, partition: int, deliveries: Sequence[Delivery]) -> None:
        """Take freshly committed records; called on the event loop."""
        if self._held is not None:
            self._held.append((partition, deliveries))
            return
        room = len(self._records) + len(deliveries) <= limits.SUBSCRIPTION_RECORDS_MAX
        if self._positions is None:
            # From then on nothing: its reader is told, and gives it up.
            room = room and not self._overrun
            self._overrun = not room
        else:
            position = self._positions.get(partition, 0)
            if deliveries[-1].offset < position:
                return  # Committed before a read that found them.
            if not room or position != deliveries[0].offset:
                self._behind = True  # They are in the log; read back in their turn.
                self._arrived.set()
                return
            self._positions[partition] = deliveries[-1].offset + 1
        if room:
            self._records.extend(deliveries)
        self._arrived.set()

    async def receive(self) -> list[Delivery]:
        """Wait for records; at least one."""
        await trio.lowlevel.checkpoint()
        while not self._records:
            if self._overrun:
                self._journal.detach(self._topic, self.offer)
                message = f"a reader of {self._topic} fell behind and has missed records"
                raise BusUnavailable(message)
            if self._behind:
                await self._catch_up()
                continue
            self._arrived = trio.Event()
            await self._arrived.wait()
        count = min(len(self._records), limits.RECEIVE_RECORDS_MAX)
        return [self._records.popleft() for _ in range(count)]

    async def _catch_up(self) -> None:
        assert self._positions is not None
        assert self._group is not None
        topic, group, wanted = self._topic, self._group, dict(self._positions)
        # What is committed meanwhile may be among what is found, or come right after it; only the
        # position reached tells. A cancelled read leaves us behind, to be read again.
        held: list[tuple[int, Sequence[Delivery]]] = []
        self._held = held
        try:
            found, self._positions, self._behind = await self._write(
                lambda tx: self._journal.read(tx.conn, topic, group, wanted)
            )
            self._records.extend(found)
        finally:
            self._held = None
            for partition, deliveries in held:
                self.offer(partition, deliveries)
