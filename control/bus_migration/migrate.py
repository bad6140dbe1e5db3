"""Moves the jobs of a stopped data directory between the embedded bus and Kafka.

Where the jobs are is a setting in the state database, written in the transaction that moves them:
before that commit nothing has happened, after it everything has. What is done before it can be done
again, what is left to do after it is made up for by the next move, or by `tpctl up`.
"""

import shlex
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import trio

from control.bus.kafka.bus import KafkaBus
from control.bus.kafka.client import Cluster
from control.bus.kafka.outbox_relay import Outbox, records_of
from control.bus.kafka.producer import Relayed
from control.bus_migration.drain import EmbeddedParticipant, drain
from control.bus_migration.kafka_side import Handover, Progress
from control.core.records.moved import READERS, moved
from control.model import limits
from control.model.bus.messages import JobReady, Placed
from control.model.bus.records import Record, receipts_of
from control.model.bus.reports import DeadLetter
from control.model.config import EMBEDDED, Config
from control.model.errors import BusUnavailable, ConfigError
from control.model.names import FACTS_FILE, STATE_FILE, Topic
from control.process import data_directory
from control.process.state_host import HostEnvironment
from store import settings
from store.database.connection import Connection
from store.database.state import open_state
from store.database.writer import Tx, Writer
from store.facts.database import Facts
from store.outbox import SqliteOutboxRows
from store.settings import Setting

Say = Callable[[str], None]
_ROWS_AT_ONCE: Final = 64
_PARTITIONS: Final = next(
    field.default for field in msgspec.structs.fields(Config) if field.name == "partitions"
)


class MigrationResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where the jobs are now, how many have come there, and what to do next."""

    bus: str
    waiting: int = 0
    placed: int = 0
    other: int = 0  # Records: commands, and what is not counted yet.
    next: str


class Move:
    """One move of one data directory, whose lock this process has. `say`: tells a person."""

    def __init__(
        self,
        config: Config,
        world: HostEnvironment,
        conn: Connection,
        facts: Facts,
        say: Say,
    ) -> None:
        self._config = config
        self._world = world
        self._facts = facts
        self._say = say
        self._kafka = data_directory.bus_name(config)
        self._now = settings.get(conn, Setting.BUS) or EMBEDDED
        self._rows = SqliteOutboxRows()
        self._cluster = Cluster(
            servers=config.brokers or "",
            member=data_directory.member(config.directory, world.random_bytes),
            instance=world.random_bytes(8).hex(),
            prefix=config.topic_prefix,
            properties=config.kafka,
        )
        self._handover = Handover(self._cluster)
        self._embedded = EmbeddedParticipant()
        self._writer = Writer(conn, trio.to_thread.run_sync, self._embedded)

    async def promote(self) -> MigrationResult:
        """From the embedded bus to Kafka."""
        self._refuse_third()
        await self._handover.ask(partial(self._handover.prepare, self._config.partitions))
        async with self._writing():
            owner = await self._owner()
            bus = KafkaBus(self._cluster, self._config.partitions, owns_state=True)
            outbox = Outbox(self._rows, bus, owner)
            known = await self._outbox()
            if known.note not in {"", owner}:
                raise self._cluster.of_another()
            counts = Counter[str]()
            if self._now == EMBEDDED:
                await self._require_peace()
                self._say(f"{self._cluster.servers} is ready")
                await drain(self._writer, self._embedded, self._facts, self._config, self._world)
                self._say("every result is counted")
                await self._handover.ask(self._handover.finish_all)
                await self._handover.ask(partial(self._handover.claim, known, owner))
                await trio.to_thread.run_sync(self._facts.forget_reached)
                counts = await self._writer.write(partial(self._to_kafka, outbox=outbox))
                self._say("the jobs are on Kafka now; publishing them")
            else:
                self._say("the jobs are on Kafka already; publishing what an earlier move left")
            await self._relay(bus, outbox)
        return self._moved(self._kafka, counts)

    async def demote(self) -> MigrationResult:
        """From Kafka to the embedded bus."""
        self._refuse_third()
        there = await self._handover.ask(self._handover.is_there)
        async with self._writing():
            owner = await self._owner()
            note = (await self._outbox()).note if there else ""
            if note not in {"", owner}:
                raise self._cluster.of_another()
            if self._now != EMBEDDED and not note:
                message = (
                    f"nothing of {self._config.directory} is on {self._cluster.servers}: "
                    "is it another cluster?"
                )
                raise ConfigError(message)
            counts = Counter[str]()
            if note:
                await self._require_peace()
            if self._now == EMBEDDED:
                self._say("the jobs are on the embedded bus already")
            else:
                self._say(f"{self._cluster.servers} is ready")
                await self._finish_counted()
                relayed = (await self._outbox()).row
                progress = await self._handover.ask(self._handover.progress)
                move = partial(self._to_embedded, relayed=relayed, progress=progress)
                counts = await self._writer.write(move)
                self._say("the jobs are on the embedded bus now; finishing them on Kafka")
            if note:
                await self._handover.ask(self._handover.finish_all)
        return self._moved(EMBEDDED, counts)

    def _refuse_third(self) -> None:
        if self._now not in {EMBEDDED, self._kafka}:
            message = (
                f"the jobs of {self._config.directory} are on another bus ({self._now}); give the "
                "--topic-prefix it has there"
            )
            raise ConfigError(message)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._writer.run)
            yield
            nursery.cancel_scope.cancel()

    async def _owner(self) -> str:
        chance = self._world.random_bytes
        return await self._writer.write(lambda tx: settings.identity(tx.conn, chance))

    async def _outbox(self) -> Relayed:
        """Whose records are on Kafka; waits for the end of a dead process's transaction."""
        return await self._handover.ask(self._handover.outbox, limits.MOVE_SETTLE_S)

    async def _require_peace(self) -> None:
        """Wait until nobody serves the jobs there, and nothing is half done; else refuse."""
        members = await self._handover.ask(self._handover.members)
        if members:
            self._say(f"waiting for {', '.join(members)} to leave")
            with trio.move_on_after(limits.MOVE_LEAVE_S):
                while members:
                    await trio.sleep(limits.KAFKA_POLL_S)
                    members = await self._handover.ask(self._handover.members)
        if members:
            message = (
                f"a control plane is running with this prefix: {', '.join(members)}; stop it first"
            )
            raise ConfigError(message)
        await self._handover.ask(self._handover.require_settled, limits.MOVE_SETTLE_S)

    async def _relay(self, bus: KafkaBus, outbox: Outbox) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(bus.run)
            nursery.start_soon(outbox.run, self._writer.insist)
            with trio.move_on_after(limits.MOVE_RELAY_S):
                await outbox.emptied.wait()
            nursery.cancel_scope.cancel()
        if not outbox.emptied.is_set():
            message = (
                f"the jobs are on Kafka now, but not all are published: {bus.failing}; "
                f"`{self._next(self._kafka)}` goes on with it"
            )
            raise BusUnavailable(message)

    async def _finish_counted(self) -> None:
        """What the facts have, no bus delivers again."""
        results = Topic.TASK_RUN_RESULTS
        reached = await trio.to_thread.run_sync(self._facts.reached, results)
        if reached:
            statistics = READERS[results][1]
            await self._handover.ask(partial(self._handover.finish, results, statistics, reached))
            await trio.to_thread.run_sync(self._facts.forget_reached)

    # Inside the transaction that moves everything.

    def _to_kafka(self, tx: Tx, outbox: Outbox) -> Counter[str]:
        journal, conn, counts = self._embedded.journal, tx.conn, Counter[str]()
        self._rows.drop(conn, self._rows.last(conn))  # Of an earlier time on Kafka.
        for topic, groups in READERS.items():
            group = groups[0]  # Where there are two, all is drained.
            positions, more = journal.join(conn, topic, group), True
            while more:
                found, positions, more = journal.read(conn, topic, group, positions)
                piece = Tx(conn)
                piece.publish([moved(each, self._config.partitions) for each in found])
                outbox.persist(conn, [piece])
                tx.ack(receipts_of(group, topic, [each.place for each in found]))
                counts.update(_kind(record) for record in piece.published)
        settings.put(conn, Setting.BUS, self._kafka)
        return counts

    def _to_embedded(self, tx: Tx, relayed: int, progress: Progress) -> Counter[str]:
        journal, conn, counts = self._embedded.journal, tx.conn, Counter[str]()
        for topic, groups in READERS.items():
            for group in groups:
                journal.join(conn, topic, group)
            for portion in self._handover.left(topic, progress):
                piece, offset = Tx(conn), journal.end(conn, topic)
                for left in portion:
                    if isinstance(left.delivery.message, DeadLetter):
                        self._say_unreadable(left.delivery.message)
                        continue
                    piece.publish([moved(left.delivery, self._config.partitions)])
                    for group in set(groups) - left.groups:  # Such a topic has one partition.
                        piece.ack(receipts_of(group, topic, [offset * limits.PARTITIONS_MAX]))
                    offset += 1
                journal.persist(conn, [piece])
                counts.update(_kind(record) for record in piece.published)
        counts.update(self._unrelayed(conn, relayed))
        settings.put(conn, Setting.BUS, EMBEDDED)
        return counts

    def _unrelayed(self, conn: Connection, relayed: int) -> Counter[str]:
        """What was on its way to Kafka."""
        counts, last = Counter[str](), self._rows.last(conn)
        at = relayed if relayed <= last else 0  # The database is a backup, older than the topics.
        while rows := self._rows.after(conn, at, _ROWS_AT_ONCE):
            piece, at = Tx(conn), rows[-1][0]
            for _, body in rows:
                piece.publish(records_of(body))
            self._embedded.journal.persist(conn, [piece])
            counts.update(_kind(record) for record in piece.published)
        self._rows.drop(conn, last)
        return counts

    def _say_unreadable(self, letter: DeadLetter) -> None:
        place = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        self._say(f"left behind, as nobody can read it: {place}: {letter.error}")

    def _moved(self, bus: str, counts: Counter[str]) -> MigrationResult:
        return MigrationResult(bus=bus, next=self._next(bus), **counts)

    def _next(self, bus: str) -> str:
        config = self._config
        words = ["tpctl", "up", "--data-dir", config.data_dir]
        words += ["--bus", EMBEDDED if bus == EMBEDDED else config.bus]
        if bus != EMBEDDED and config.topic_prefix:
            words += ["--topic-prefix", config.topic_prefix]
        if config.partitions != _PARTITIONS:
            words += ["--partitions", str(config.partitions)]
        return shlex.join(words)


async def promote(config: Config, world: HostEnvironment, say: Say) -> MigrationResult:
    """Move to Kafka; raises `ConfigError`, `BusUnavailable`, `StoreFailed`."""
    async with _opened(config, world, say) as move:
        return await move.promote()


async def demote(config: Config, world: HostEnvironment, say: Say) -> MigrationResult:
    """Move to the embedded bus; raises `ConfigError`, `BusUnavailable`, `StoreFailed`."""
    async with _opened(config, world, say) as move:
        return await move.demote()


@asynccontextmanager
async def _opened(config: Config, world: HostEnvironment, say: Say) -> AsyncIterator[Move]:
    file = config.directory / STATE_FILE
    if not file.exists():
        message = f"there is nothing to move: {config.directory} has no {STATE_FILE}"
        raise ConfigError(message)
    with data_directory.locked(config.directory):
        conn, facts = open_state(file), Facts(config.directory / FACTS_FILE)
        try:
            yield Move(config, world, conn, facts, say)
        finally:
            facts.close()
            conn.close()


def _kind(record: Record) -> str:
    """Which field of `MigrationResult` counts it."""
    match record.message:
        case JobReady():
            return "waiting"
        case Placed():
            return "placed"
        case _:
            return "other"
