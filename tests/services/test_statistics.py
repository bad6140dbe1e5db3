"""Decides that every result is counted once, whatever dies or fails in between."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from csv import DictReader
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.bus.interface import Subscription
from control.model import limits
from control.model.bus.messages import Announce, Finished, Learned, Message, Skipped
from control.model.bus.records import Delivery, Receipts, Record
from control.model.names import Group, Service, Topic
from control.model.states import Outcome, Speed
from control.services.statistics import Statistics, fact_of
from store.bus_log import SqliteLogRows
from store.database.migrations import migrate
from store.database.writer import Writer
from store.facts.database import Facts
from store.facts.fact import Fact

T = TypeVar("T")
NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


async def inline(sync_fn: Callable[[], T], /) -> T:
    await trio.lowlevel.checkpoint()
    return sync_fn()


def finished(job_id: int, **fields: object) -> Finished:
    values: dict[str, object] = {
        "run_id": 1,
        "job_id": job_id,
        "attempt": 1,
        "pipeline": "nightly",
        "name": "pull",
        "stage": "extract",
        "client": "ops",
        "kind": "Shell",
        "version": "1.0.0",
        "worker": "w-1",
        "partition": 4,
        "speed": Speed.FAST,
        "outcome": Outcome.DONE,
        "final": True,
        "expected": 1.0,
        "ready_ms": NOW_MS - 3_000,
        "started_ms": NOW_MS - 2_000,
        "finished_ms": NOW_MS - 1_000,
        "wait_seconds": 1.0,
        "duration_seconds": 1.0,
    }
    return Finished(**(values | fields))  # type: ignore[arg-type]  # Each field has its own type.


SKIPPED = Skipped(
    run_id=1,
    job_id=99,
    attempt=1,
    pipeline="nightly",
    name="publish",
    kind="Shell",
    client="ops",
    ready_ms=NOW_MS,
    finished_ms=NOW_MS,
    reason="r" * 500,
)


class World:
    """The state file with its bus, and the facts; opening one again is a restart."""

    def __init__(self, folder: Path) -> None:
        self.conn = sqlite3.connect(folder / "state.db", isolation_level=None)
        migrate(self.conn)
        self.journal = Journal(SqliteLogRows())
        self.writer = Writer(self.conn, inline, self.journal)
        self.bus = EmbeddedBus(self.journal, self.writer.insist)
        self.facts = Facts(folder / "facts.duckdb")
        self.statistics = Statistics(self.bus, self.facts, inline)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Its writer and statistics run, and are cancelled at the end."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.writer.run)
            await nursery.start(self.statistics.run)
            yield
            nursery.cancel_scope.cancel()

    async def publish(self, *messages: Message) -> None:
        await self.bus.publish([Record(Topic.TASK_RUN_RESULTS, one) for one in messages])

    def count(self) -> int:
        return self.facts.summary(HOUR_MS, NOW_MS).jobs

    def failing(self) -> str:
        return self.statistics.failing or ""

    def unread(self) -> int:
        """Give how many records the log still keeps for the group."""
        found = self.conn.execute("SELECT coalesce(sum(count), 0) FROM bus_log").fetchone()
        return int(found[0])


@contextmanager
def opened(folder: Path) -> Iterator[World]:
    world = World(folder)
    yield world
    world.conn.close()
    world.facts.close()


async def test_results_become_facts_and_are_acknowledged(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        async with world.running():
            await world.publish(*(finished(i) for i in range(5)))
            await world.publish(SKIPPED)
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
            assert world.count() == 6
            assert world.unread() == 0


def skipped(job_id: int, run_id: int = 1) -> Skipped:
    return msgspec.structs.replace(SKIPPED, job_id=job_id, run_id=run_id)


async def test_an_attempt_has_one_final_fact(tmp_path: Path, autojump_clock: MockClock) -> None:
    # A job is cancelled while an attempt of it is on its way: the state has refused the worker's.
    with opened(tmp_path) as world:
        async with world.running():
            await world.publish(skipped(1), finished(1), finished(2), skipped(2), finished(3))
            await world.publish(finished(4, attempt=2, final=False), skipped(5))
            await world.publish(finished(6, outcome=Outcome.LOST, final=False))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
            await world.publish(skipped(3), finished(4, attempt=3), skipped(6))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
    with opened(tmp_path) as world:  # Also when the worker's comes after a restart.
        async with world.running():
            await world.publish(finished(5), finished(5, attempt=2))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
        path = tmp_path / "facts.csv"
        world.facts.export(path, "csv")
        with path.open(encoding="utf-8") as file:
            rows = [(row["job_id"], row["attempt"], row["outcome"]) for row in DictReader(file)]
        assert sorted(rows) == [
            ("1", "1", "cancelled"),
            ("2", "1", "cancelled"),
            ("3", "1", "cancelled"),
            ("4", "2", "done"),
            ("4", "3", "done"),
            ("5", "1", "cancelled"),
            ("5", "2", "done"),
            ("6", "1", "cancelled"),
        ]


async def test_many_results_are_not_kept_waiting(tmp_path: Path, autojump_clock: MockClock) -> None:
    with opened(tmp_path) as world:
        async with world.running():
            began = trio.current_time()
            await world.publish(*(finished(i) for i in range(limits.FACTS_BATCH_MAX)))
            await wait_all_tasks_blocked()
            assert trio.current_time() == began
            assert world.count() == limits.FACTS_BATCH_MAX


async def test_what_was_received_is_stored_at_shutdown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        async with trio.open_nursery() as outer:
            await outer.start(world.writer.run)
            async with trio.open_nursery() as inner:
                await inner.start(world.statistics.run)
                await world.publish(finished(1))
                await wait_all_tasks_blocked()
                inner.cancel_scope.cancel()
            assert world.count() == 1
            assert world.unread() == 0
            outer.cancel_scope.cancel()


class Dying:
    """A bus whose process dies before it can acknowledge anything."""

    def __init__(self, bus: EmbeddedBus) -> None:
        self.publish, self.subscribe, self.tail = bus.publish, bus.subscribe, bus.tail

    async def forward(self, acked: Sequence[Receipts], published: Sequence[Record]) -> None:
        await trio.lowlevel.checkpoint()
        message = f"{len(acked)} receipts and {len(published)} records were not written"
        raise ConnectionResetError(message)


async def test_what_was_stored_but_not_acknowledged_counts_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        dying = Statistics(Dying(world.bus), world.facts, inline)
        async with trio.open_nursery() as nursery:
            await nursery.start(world.writer.run)
            with pytest.RaisesGroup(ConnectionResetError, flatten_subgroups=True):
                async with trio.open_nursery() as killed:
                    await killed.start(dying.run)
                    await world.publish(*(finished(i) for i in range(5)))
            assert world.count() == 5
            assert world.unread() == 5
            nursery.cancel_scope.cancel()
    with opened(tmp_path) as world:
        async with trio.open_nursery() as nursery:
            await nursery.start(world.writer.run)
            await world.publish(finished(5))
            await nursery.start(world.statistics.run)
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
            assert jobs_of(world, tmp_path) == [0, 1, 2, 3, 4, 5]
            assert world.unread() == 0
            nursery.cancel_scope.cancel()


async def test_while_the_facts_cannot_be_written_nothing_is_lost(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        damaged = tmp_path / "facts.duckdb"
        damaged.write_bytes(b"not a database" * 1_000)
        async with world.running():
            for i in range(5):
                await world.publish(finished(i))
                await trio.sleep(5)
            assert "not a valid DuckDB" in world.failing()
            assert world.unread() == 5
            damaged.unlink()
            await trio.sleep(2 * limits.FACTS_RETRY_S + limits.FACTS_FLUSH_S)
            assert world.failing() == ""
            assert world.count() == 5
            assert world.unread() == 0


async def test_a_shutdown_while_the_facts_cannot_be_written_is_bounded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        (tmp_path / "facts.duckdb").write_bytes(b"not a database" * 1_000)
        async with trio.open_nursery() as outer:
            await outer.start(world.writer.run)
            async with trio.open_nursery() as inner:
                await inner.start(world.statistics.run)
                await world.publish(finished(1))
                await trio.sleep(10)
                stopped = trio.current_time()
                inner.cancel_scope.cancel()
            assert trio.current_time() - stopped == pytest.approx(limits.ACK_S)
            assert world.unread() == 1
            outer.cancel_scope.cancel()


class Stuttering:
    """A bus that gives each record twice, as one that delivers at least once may."""

    def __init__(self, bus: EmbeddedBus) -> None:
        self._bus = bus
        self.publish, self.forward, self.tail = bus.publish, bus.forward, bus.tail

    async def subscribe(self, topic: Topic, group: Group) -> Subscription:
        return Twice(await self._bus.subscribe(topic, group))


class Twice:
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._again: list[Delivery] = []
        self.partitions = subscription.partitions

    async def receive(self) -> list[Delivery]:
        if self._again:
            await trio.lowlevel.checkpoint()
            again, self._again = self._again, []
            return again
        found = await self._subscription.receive()
        self._again = found
        return [*found, *found]


async def test_what_is_delivered_again_counts_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        statistics = Statistics(Stuttering(world.bus), world.facts, inline)
        async with trio.open_nursery() as nursery:
            await nursery.start(world.writer.run)
            await nursery.start(statistics.run)
            for i in range(3):
                await world.publish(finished(2 * i), finished(2 * i + 1))
                await trio.sleep(0.7 * limits.FACTS_FLUSH_S)
            await trio.sleep(2 * limits.FACTS_FLUSH_S)
            assert jobs_of(world, tmp_path) == [0, 1, 2, 3, 4, 5]
            assert world.unread() == 0
            nursery.cancel_scope.cancel()


def jobs_of(world: World, folder: Path) -> list[int]:
    """The job of each fact that is stored."""
    world.facts.export(folder / "all.json", "json")
    lines = (folder / "all.json").read_bytes().splitlines()
    return sorted(msgspec.json.decode(line)["job_id"] for line in lines)


async def learned(world: World, by: Service) -> list[Learned]:
    """What is told to somebody who announces itself."""
    found: list[Learned] = []
    news = await world.bus.tail(Topic.TASK_NEWS)
    await world.bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=by))])
    with trio.move_on_after(10):
        while True:
            messages = [delivery.message for delivery in await news.receive()]
            found += [message for message in messages if isinstance(message, Learned)]
    return found


async def test_who_starts_is_told_of_earlier_durations(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        async with world.running():
            assert await learned(world, Service.API) == []
            for i in range(limits.LEARNED_KEYS_MAX + 1):
                await world.publish(finished(i, name=f"job-{i}", duration_seconds=1.0 + i))
            await world.publish(finished(0, name="job-0", duration_seconds=7.0))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
            for by in (Service.API, Service.BALANCER):
                messages = await learned(world, by)
                assert sorted(len(each.durations) for each in messages) == [
                    1,
                    limits.LEARNED_KEYS_MAX,
                ]
                told = {name: seconds for each in messages for _, name, seconds in each.durations}
                assert sorted(told["job-0"]) == [1.0, 7.0]
                assert told["job-5"] == (6.0,)
            assert await learned(world, Service.DISPATCHER) == []


async def test_what_cannot_be_told_is_in_nobody_s_way(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    with opened(tmp_path) as world:
        damaged = tmp_path / "facts.duckdb"
        damaged.write_bytes(b"not a database" * 1_000)
        async with world.running():
            assert await learned(world, Service.BALANCER) == []
            damaged.unlink()
            await world.publish(finished(1))
            await trio.sleep(limits.FACTS_FLUSH_S + 1)
            assert world.count() == 1
            (message,) = await learned(world, Service.BALANCER)
            assert message.durations == (("nightly", "pull", (1.0,)),)


def row(message: Message) -> Fact:
    fact = fact_of(Delivery(message, Topic.TASK_RUN_RESULTS, 0, 0))
    assert fact is not None
    return fact


def test_a_row_says_what_its_message_said() -> None:
    fact = row(finished(1, error="e" * 500, outcome=Outcome.FAILED, exit_code=-9))
    assert (fact.job, fact.partition, fact.exit_code, fact.error) == ("pull", 4, -9, "e" * 200)
    assert (fact.wait_seconds, fact.duration_seconds) == (1.0, 1.0)
    early = row(finished(1, wait_seconds=-0.2))
    assert early.wait_seconds == 0.0
    never = row(finished(1, started_ms=None, outcome=Outcome.LOST, final=False))
    assert never.wait_seconds is never.duration_seconds is None
    assert not never.final
    fact = row(SKIPPED)
    assert (fact.outcome, fact.final, fact.worker) == (Outcome.CANCELLED, True, None)
    assert fact_of(Delivery(Announce(by=Service.API), Topic.TASK_RUN_RESULTS, 0, 0)) is None
