"""Owns how the state's owner publishes on Kafka: in the transaction that changes the state.

What a piece of work publishes is written to a table in the same commit, and relayed after it. The
number of the last relayed row goes into the Kafka transaction that publishes it, so that a crash
neither loses nor doubles anything. What a piece acknowledged goes to Kafka after the commit: what
a crash in between delivers again, the state refuses.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog
import trio
from msgspec import Raw

from control.bus.embedded.bus import Write
from control.bus.embedded.log import UnitOfWork as Work
from control.bus.kafka.bus import OUTBOX, KafkaBus
from control.bus.kafka.group_commit import KafkaUnitOfWork
from control.bus.kafka.producer import Outgoing, Relayed, outgoing
from control.core.records.headers import headers_of
from control.model import limits
from control.model.bus.messages import DECODER, ENCODER
from control.model.bus.records import Receipts, Record
from control.model.names import Topic
from store.database.connection import Connection

LOG = structlog.get_logger("bus")
_Row = list[tuple[Topic, int | None, int | None, Raw]]
_ROWS_AT_ONCE: Final = 64
_DECODER: Final = msgspec.json.Decoder(_Row)


class OutboxRows(Protocol):
    """The outbox's table. `store/outbox.py` has it in SQLite."""

    def append(self, conn: Connection, row: int, body: bytes) -> None:
        """Add one row."""

    def last(self, conn: Connection) -> int:
        """The newest number that a row has or had; 0: none."""

    def move_up(self, conn: Connection, by: int) -> None:
        """Give all rows, and all to come, higher numbers."""

    def after(self, conn: Connection, row: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """The oldest rows after this one, with their numbers."""

    def drop(self, conn: Connection, row: int) -> None:
        """Delete all up to this one."""


class Outbox:
    """The writer's participant on Kafka, and the relay. `owner`: the state database's id."""

    def __init__(self, rows: OutboxRows, bus: KafkaBus, owner: str) -> None:
        self._rows = rows
        self._bus = bus
        self._owner = owner
        self._last: int | None = None  # The newest row's number; None: to be read.
        self._relayed = 0
        self._dropped = 0
        # Rows committed and not relayed, as far as they are in memory; the table has all.
        self._ready: deque[tuple[int, list[Outgoing]]] = deque()
        self._behind = True  # The table has more than is in memory.
        self._arrived = trio.Event()
        self.emptied = trio.Event()  # All rows of some moment are relayed.

    @property
    def rows(self) -> int:
        """How many rows are committed and not relayed."""
        return max((self._last or 0) - self._relayed, 0)

    # In the writer's thread.

    def persist(self, conn: Connection, pieces: Sequence[Work]) -> Callable[[], None]:
        """Write everything the pieces publish as rows; the returned call follows the commit."""
        if self._last is None:
            self._last = self._rows.last(conn)
        if self._relayed > self._dropped:
            self._rows.drop(conn, self._relayed)
            self._dropped = self._relayed
        fresh = []
        for portion in _portions([outgoing(r) for piece in pieces for r in piece.published]):
            self._last += 1
            # Without headers: they follow from what the record says.
            body = ENCODER.encode([(*each[:3], Raw(each.value)) for each in portion])
            self._rows.append(conn, self._last, body)
            fresh.append((self._last, portion))
        acked = [receipts for piece in pieces for receipts in piece.acked]
        return lambda: self._committed(fresh, acked)

    def rolled_back(self) -> None:
        """Nothing since the last commit happened."""
        self._last, self._dropped = None, 0

    # On the event loop.

    def _committed(
        self, fresh: Sequence[tuple[int, list[Outgoing]]], acked: Sequence[Receipts]
    ) -> None:
        if acked:
            self._bus.hand_in(KafkaUnitOfWork(receipts=acked))
        if fresh:
            if self._behind or len(self._ready) + len(fresh) > limits.OUTBOX_ROWS_MAX:
                self._behind = True  # They are in the table; read back in their turn.
            else:
                self._ready.extend(fresh)
            self._arrived.set()

    async def run(self, write: Write) -> None:
        """Relay until cancelled. Raises `ConfigError` when the topics are another database's."""
        relayed = await self._bus.relayed(OUTBOX, self._owner)
        await write(lambda tx: self._begin(tx.conn, relayed))
        while True:
            self._arrived = trio.Event()
            if self._behind and not self._ready:
                await self._catch_up(write)
            if not self._ready:
                self.emptied.set()
                with trio.move_on_after(limits.PURGE_EVERY_S):
                    await self._arrived.wait()
                    continue
                if self._relayed:  # Kafka forgets what nobody has committed for days.
                    await self._bus.commit(KafkaUnitOfWork(relayed=self._note(self._relayed)))
                continue
            rows = [self._ready.popleft() for _ in range(min(len(self._ready), _ROWS_AT_ONCE))]
            last = rows[-1][0]
            records = [record for _, portion in rows for record in portion]
            await self._bus.commit(KafkaUnitOfWork(records, relayed=self._note(last)))
            self._relayed = last

    def _note(self, row: int) -> Relayed:
        return Relayed(self._bus.cluster.group(OUTBOX), row, self._owner)

    async def _catch_up(self, write: Write) -> None:
        self._behind = False  # What is committed from now on is handed to us.
        found = await write(lambda tx: self._rows.after(tx.conn, self._relayed, _ROWS_AT_ONCE))
        rows = [(row, _decoded(body)) for row, body in found]
        if len(rows) == _ROWS_AT_ONCE:  # And of what was handed to us, later.
            self._behind = True
            self._ready.clear()
        while self._ready and rows and self._ready[0][0] <= rows[-1][0]:
            self._ready.popleft()  # Committed just before we looked, and handed to us as well.
        self._ready.extendleft(reversed(rows))

    def _begin(self, conn: Connection, relayed: int) -> None:
        if relayed > self._rows.last(conn):
            # The database is older than the topics: a backup. What it has not relayed is
            # published, perhaps again, and refused where it is old news.
            LOG.warning("bus.database_restored", relayed=relayed)
            self._rows.move_up(conn, relayed)
        self._last = self._rows.last(conn)
        self._relayed = relayed


class StateBus:
    """The bus as the state's owner sees it: what it publishes goes through the outbox."""

    def __init__(self, bus: KafkaBus, write: Write) -> None:
        self._bus = bus
        self._write = write
        self.forward = bus.forward
        self.subscribe = bus.subscribe
        self.tail = bus.tail

    async def publish(self, records: Sequence[Record]) -> None:
        """Put records on their topics; they are there for sure, and may be on their way."""
        await self._write(lambda tx: tx.publish(records))


def records_of(body: bytes) -> list[Record]:
    """What one row publishes."""
    return [
        Record(each.topic, DECODER.decode(each.value), each.key, each.partition)
        for each in _decoded(body)
    ]


def _decoded(body: bytes) -> list[Outgoing]:
    found = [(each, bytes(each[3])) for each in _DECODER.decode(body)]
    return [Outgoing(*each[:3], value, headers_of(DECODER.decode(value))) for each, value in found]


def _portions(records: list[Outgoing]) -> list[list[Outgoing]]:
    """A commit's records as few rows, none too large for SQLite."""
    portions: list[list[Outgoing]] = []
    size = limits.BUS_ROW_BYTES_MAX + 1
    for record in records:
        size += len(record.value)
        if size > limits.BUS_ROW_BYTES_MAX or len(portions[-1]) >= limits.BUS_ROW_RECORDS_MAX:
            portions.append([])
            size = len(record.value)
        portions[-1].append(record)
    return portions
