"""Decides whether what the state's owner publishes gets to Kafka exactly once, whatever dies."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from confluent_kafka import Consumer, TopicPartition

from bench.servers.broker import Broker
from control.bus.kafka.bus import KafkaBus
from control.bus.kafka.client import Cluster
from control.bus.kafka.outbox_relay import Outbox
from control.model.bus.messages import Deadline
from control.model.bus.records import Record
from control.model.errors import ConfigError
from control.model.names import Topic
from store.database.state import open_state
from store.database.writer import Tx, Writer
from store.outbox import SqliteOutboxRows

pytestmark = pytest.mark.kafka


class Owner:
    """A writer whose records go to Kafka."""

    def __init__(self, writer: Writer, bus: KafkaBus, outbox: Outbox) -> None:
        self.writer = writer
        self.bus = bus
        self.outbox = outbox

    async def publish(self, *numbers: int) -> None:
        """One commit."""
        await self.writer.write(lambda tx: tx.publish([_record(number) for number in numbers]))


@asynccontextmanager
async def opened(
    directory: Path, broker: Broker, prefix: str, *, owner: str = "a", relays: bool = True
) -> AsyncIterator[Owner]:
    """Everything wired; leaving the block is a crash."""
    conn = open_state(directory / "state.db")
    cluster = Cluster(servers=broker.address, member=prefix, prefix=prefix)
    bus = KafkaBus(cluster, 1, owns_state=True)
    outbox = Outbox(SqliteOutboxRows(), bus, owner)
    writer = Writer(conn, trio.to_thread.run_sync, outbox)
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        await nursery.start(bus.run)
        if relays:
            nursery.start_soon(outbox.run, writer.insist)
        yield Owner(writer, bus, outbox)
        nursery.cancel_scope.cancel()
    conn.close()


def _record(number: int) -> Record:
    return Record(Topic.TASK_COMMANDS, Deadline(run_id=number, at_ms=number))


def published(broker: Broker, prefix: str, until: int) -> list[int]:
    """The numbers on the topic, in order, up to the one named."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address,
            "group.id": f"{prefix}reader",
            "isolation.level": "read_committed",
            "log_level": 2,
        }
    )
    found: list[int] = []
    try:
        consumer.assign([TopicPartition(f"{prefix}task_commands", 0, 0)])
        while until not in found:
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None
            found.append(msgspec.json.decode(message.value() or b"", type=Deadline).run_id)
    finally:
        consumer.close()
    return found


def rows(directory: Path) -> int:
    with sqlite3.connect(directory / "state.db") as conn:
        count: int = conn.execute("SELECT count(*) FROM outbox").fetchone()[0]
    conn.close()
    return count


async def test_crashes_lose_and_double_nothing(tmp_path: Path, broker: Broker, prefix: str) -> None:
    chance = random.Random(7)
    number = 0
    for _ in range(6):
        async with opened(tmp_path, broker, prefix) as owner:
            for _ in range(chance.randrange(1, 120)):
                count = chance.randrange(1, 4)
                await owner.publish(*range(number, number + count))
                number += count
    async with opened(tmp_path, broker, prefix) as owner:
        await owner.publish(number)
        found = await trio.to_thread.run_sync(published, broker, prefix, number)
    assert found == list(range(number + 1))


async def test_what_was_committed_while_nothing_was_relayed_goes_out_in_order(
    tmp_path: Path, broker: Broker, prefix: str
) -> None:
    async with opened(tmp_path, broker, prefix, relays=False) as owner:
        for number in range(200):
            await owner.publish(number)
    assert rows(tmp_path) == 200
    async with opened(tmp_path, broker, prefix) as owner:
        await owner.publish(200)
        found = await trio.to_thread.run_sync(published, broker, prefix, 200)
        await owner.publish(201)
        await trio.to_thread.run_sync(published, broker, prefix, 201)
        await owner.publish(202)  # The commit after a relay deletes what it relayed.
        assert rows(tmp_path) <= 2
    assert found == list(range(201))


async def test_what_is_committed_while_rows_are_read_back_goes_out_once(
    tmp_path: Path, broker: Broker, prefix: str
) -> None:
    async with opened(tmp_path, broker, prefix, relays=False) as owner:
        for number in range(150):
            await owner.publish(number)
    async with opened(tmp_path, broker, prefix) as owner:

        async def publish(first: int) -> None:
            for number in range(first, first + 300):
                await owner.publish(number)

        async with trio.open_nursery() as nursery:
            for first in (1_000, 2_000, 3_000):
                nursery.start_soon(publish, first)
        await owner.publish(9_999)
        found = await trio.to_thread.run_sync(published, broker, prefix, 9_999)
    assert len(found) == len(set(found)) == 150 + 3 * 300 + 1


async def test_a_piece_that_fails_publishes_nothing(
    tmp_path: Path, broker: Broker, prefix: str
) -> None:
    def fails(tx: Tx) -> None:
        tx.publish([_record(1)])
        raise ValueError("on purpose")

    async with opened(tmp_path, broker, prefix) as owner:
        with pytest.raises(ValueError, match="on purpose"):
            await owner.writer.write(fails)
        await owner.publish(2)
        assert await trio.to_thread.run_sync(published, broker, prefix, 2) == [2]


async def test_a_database_from_a_backup_goes_on_publishing(
    tmp_path: Path, broker: Broker, prefix: str
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with opened(before, broker, prefix, relays=False) as owner:
        await owner.publish(1)
    with sqlite3.connect(before / "state.db") as conn, sqlite3.connect(after / "state.db") as copy:
        conn.backup(copy)
    conn.close()
    copy.close()
    async with opened(before, broker, prefix) as owner:
        for number in range(2, 30):
            await owner.publish(number)
        await trio.to_thread.run_sync(published, broker, prefix, 29)
    async with opened(after, broker, prefix) as owner:
        await owner.publish(100)
        found = await trio.to_thread.run_sync(published, broker, prefix, 100)
    assert found[-2:] == [1, 100]  # What the backup had not relayed comes again, nothing is lost.


async def test_topics_of_another_database_are_refused(
    tmp_path: Path, broker: Broker, prefix: str
) -> None:
    async with opened(tmp_path, broker, prefix) as owner:
        await owner.publish(1)
        await trio.to_thread.run_sync(published, broker, prefix, 1)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.RaisesGroup(ConfigError, flatten_subgroups=True) as refused:
        async with opened(other, broker, prefix, owner="b"):
            await trio.sleep_forever()
    assert "--topic-prefix" in str(refused.value.exceptions)
