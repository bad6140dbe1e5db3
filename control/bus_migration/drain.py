"""Decides when all that happened to attempts is state and facts: nothing on the bus is left to do.

The services run for it on the embedded bus, as in `control.process.control_plane`.
"""

from collections.abc import Callable, Sequence

import trio

from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.core.records.moved import READERS
from control.model import limits
from control.model.config import Config
from control.model.errors import Unavailable
from control.model.names import Group
from control.process.state_host import HostEnvironment
from control.services.statistics import Statistics
from control.services.trigger import TriggerService
from control.transactions.graphs import Graphs
from control.transactions.run_transactions import Ledger
from store.bus_log import SqliteLogRows
from store.database.connection import Connection
from store.database.writer import Tx, Writer
from store.facts.database import Facts

_DRAINED = (Group.TRIGGER, Group.STATISTICS)


class EmbeddedParticipant:
    """The embedded bus's part in the commits, which tells when a group has moved on."""

    def __init__(self) -> None:
        self.journal = Journal(SqliteLogRows())
        self.rolled_back = self.journal.rolled_back
        self.moved_on = trio.Event()

    def persist(self, conn: Connection, pieces: Sequence[Tx]) -> Callable[[], None]:
        """Write what the pieces published and acked."""
        hand_out = self.journal.persist(conn, pieces)
        acked = any(piece.acked for piece in pieces)

        def committed() -> None:
            hand_out()
            if acked:
                self.moved_on.set()
                self.moved_on = trio.Event()

        return committed

    def left(self, conn: Connection) -> int:
        """How many results and events wait."""
        return sum(
            self.journal.left(conn, topic, group)
            for topic, groups in READERS.items()
            for group in groups
            if group in _DRAINED
        )


async def drain(
    writer: Writer,
    embedded: EmbeddedParticipant,
    facts: Facts,
    config: Config,
    world: HostEnvironment,
) -> None:
    """Let the trigger and the statistics finish; raises `Unavailable` if they do not."""
    bus = EmbeddedBus(embedded.journal, writer.insist)
    ledger = Ledger(Graphs(), config.queue_size, world.clock.steady_ms)
    trigger = TriggerService(bus, writer, ledger, world.clock, world.jitter)
    statistics = Statistics(bus, facts, trio.to_thread.run_sync)
    # Once they have ended nothing may be left: what came due in the last moment has results too.
    while left := await _left(writer, embedded):
        with trio.move_on_after(limits.MOVE_DRAIN_S) as patience:
            async with trio.open_nursery() as services:
                await services.start(statistics.run)
                await services.start(trigger.run)
                while left:
                    moved_on = embedded.moved_on
                    left = await _left(writer, embedded)
                    if left:
                        await moved_on.wait()
                services.cancel_scope.cancel()
        if patience.cancelled_caught:
            why = f": {statistics.failing}" if statistics.failing else ""
            message = f"{left} results and events are not counted yet{why}; try again"
            raise Unavailable(message)


async def _left(writer: Writer, embedded: EmbeddedParticipant) -> int:
    return await writer.write(lambda tx: embedded.left(tx.conn))
