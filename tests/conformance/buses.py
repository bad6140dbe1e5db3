"""Owns how the suite opens, crashes, and reopens a bus. A second bus adds one factory here."""

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio

from bench.servers.broker import Broker
from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.bus.interface import Bus
from control.bus.kafka.bus import KafkaBus
from control.bus.kafka.client import Cluster
from store.bus_log import SqliteLogRows
from store.database.state import open_state
from store.database.writer import Writer

OpenBus = Callable[[Path], AbstractAsyncContextManager[Bus]]


@asynccontextmanager
async def embedded(directory: Path) -> AsyncIterator[Bus]:
    """The embedded bus on a real file. Leaving the block is a crash: nothing is said goodbye to."""
    conn = open_state(directory / "state.db")
    journal = Journal(SqliteLogRows())
    writer = Writer(conn, trio.to_thread.run_sync, journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        yield EmbeddedBus(journal, writer.insist)
        nursery.cancel_scope.cancel()
    conn.close()


def kafka(broker: Broker) -> OpenBus:
    """The bus over a real Kafka; topics of its own for each directory."""

    @asynccontextmanager
    async def opened(directory: Path) -> AsyncIterator[Bus]:
        prefix = hashlib.blake2b(str(directory).encode(), digest_size=6).hexdigest() + "-"
        cluster = Cluster(servers=broker.address, member=prefix, prefix=prefix)
        bus = KafkaBus(cluster, 8, owns_state=True)
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            yield bus
            nursery.cancel_scope.cancel()

    return opened


BUSES: dict[str, OpenBus] = {"embedded": embedded}


def log_rows(directory: Path) -> int:
    """How many batches the embedded bus keeps on disk."""
    with sqlite3.connect(directory / "state.db") as conn:
        count: int = conn.execute("SELECT count(*) FROM bus_log").fetchone()[0]
    conn.close()
    return count
