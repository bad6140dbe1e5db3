"""Decides what a commit promises: everybody or nobody, and each piece on its own."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.bus.interface import Subscription
from control.model import limits
from control.model.bus.messages import Deadline
from control.model.bus.records import Delivery, Receipts, Record
from control.model.errors import Conflict, StoreFailed, Unavailable
from control.model.names import Change, Group, Topic
from store.bus_log import SqliteLogRows
from store.database.state import open_state
from store.database.writer import Tx, Writer

T = TypeVar("T")


class Gate:
    """A thread hop that waits until it is let through; counts how often it was asked."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.open.set()
        self.asked = 0

    async def __call__(self, sync_fn: Callable[[], T], /) -> T:
        self.asked += 1
        await self.open.wait()
        await trio.lowlevel.checkpoint()
        return sync_fn()


class World:
    """A writer on a real file, with the embedded bus taking part."""

    def __init__(self, path: Path) -> None:
        self.conn = open_state(path)
        self.conn.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT UNIQUE)")
        self.gate = Gate()
        self.cpu_s = 0.0  # What the pieces have used; a real clock has the machine's noise in it.
        self.journal = Journal(SqliteLogRows())
        self.writer = Writer(self.conn, self.gate, self.journal, cpu_s=lambda: self.cpu_s)
        self.bus = EmbeddedBus(self.journal, self.writer.insist)

    def notes(self) -> list[str]:
        """What a reader of the file sees."""
        return [row[0] for row in self.conn.execute("SELECT text FROM notes ORDER BY rowid")]

    def fill_the_disk(self) -> None:
        """Let the database grow no more."""
        pages = self.conn.execute("PRAGMA page_count").fetchone()[0]
        self.conn.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(self) -> None:
        """Let it grow again."""
        self.conn.execute("PRAGMA max_page_count = 1000000")


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[World]:
    world = World(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.writer.run)
        yield world
        nursery.cancel_scope.cancel()
    world.conn.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def note(text: str, *, big: bool = False) -> Callable[[Tx], str]:
    def work(tx: Tx) -> str:
        tx.conn.execute("INSERT INTO notes VALUES (?)", (text + "x" * 100_000 * big,))
        return text

    return work


def refused(text: str) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        tx.conn.execute("INSERT INTO notes VALUES (?)", (text,))
        tx.publish([record(666)])
        tx.touch(Change.PLAN)
        raise Conflict(text)

    return work


def record(number: int) -> Record:
    return Record(Topic.TASK_RUNS, Deadline(run_id=number, at_ms=0), number)


def numbers(found: Sequence[Delivery]) -> list[int]:
    return [d.message.run_id for d in found if isinstance(d.message, Deadline)]


async def take(subscription: Subscription, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    while len(found) < count:
        found += await subscription.receive()
    return found


async def test_what_waits_together_is_committed_together(path: Path) -> None:
    async with running(path) as world:
        async with trio.open_nursery() as nursery:
            for number in range(limits.WRITER_GROUP_MAX):
                nursery.start_soon(world.writer.write, note(str(number)))
        assert (world.writer.commits, len(world.notes())) == (1, limits.WRITER_GROUP_MAX)


def slow(world: World, text: str) -> Callable[[Tx], str]:
    def work(tx: Tx) -> str:
        world.cpu_s += 0.6 * limits.WRITER_GROUP_S
        return note(text)(tx)

    return work


async def test_a_commit_takes_in_no_more_once_it_has_taken_long(path: Path) -> None:
    async with running(path) as world:
        world.gate.open = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(world.writer.write, slow(world, str(number)))
            await wait_all_tasks_blocked()
            assert world.writer.oldest_s() > 0
            world.gate.open.set()
        assert world.writer.commits == 3
        assert sorted(world.notes()) == ["0", "1", "2", "3", "4", "5"]
        assert world.writer.oldest_s() == 0


async def test_what_is_bulk_has_a_commit_of_its_own(path: Path) -> None:
    async with running(path) as world:
        world.gate.open = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                bulk = number in {1, 3}
                nursery.start_soon(partial(world.writer.write, note(str(number)), bulk=bulk))
                await wait_all_tasks_blocked()  # In this order.
            world.gate.open.set()
        assert world.notes() == ["0", "1", "2", "3", "4"]
        assert world.writer.commits == 5


async def test_pieces_keep_the_order_in_which_they_were_handed_in(path: Path) -> None:
    order: list[str] = []

    async def hand_in(writer: Writer, text: str) -> None:
        order.append(text)
        await writer.write(note(text))

    async with running(path) as world:
        for first in range(0, 200, 10):
            async with trio.open_nursery() as nursery:
                for number in range(first, first + 10):
                    nursery.start_soon(hand_in, world.writer, str(number))
        assert world.notes() == order


async def test_a_piece_that_fails_undoes_only_itself(path: Path) -> None:
    caught: list[BaseException] = []

    async def fail(writer: Writer, work: Callable[[Tx], object]) -> None:
        try:
            await writer.write(work)
        except (Conflict, sqlite3.IntegrityError) as error:
            caught.append(error)

    async with running(path) as world:
        tail = await world.bus.tail(Topic.TASK_RUNS)
        planned = world.writer.changed(Change.PLAN)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.writer.write, note("a"))
            nursery.start_soon(fail, world.writer, refused("b"))
            nursery.start_soon(world.bus.publish, [record(1)])
            nursery.start_soon(world.writer.write, note("c"))
        await fail(world.writer, note("a"))
        assert sorted(world.notes()) == ["a", "c"]
        assert {type(error) for error in caught} == {Conflict, sqlite3.IntegrityError}
        assert numbers(await tail.receive()) == [1]
        assert not planned.is_set()


async def test_a_full_disk_is_heard_by_everybody_and_changes_nothing(path: Path) -> None:
    heard = 0

    async def hear(world: World, work: Callable[[Tx], object]) -> None:
        nonlocal heard
        with pytest.raises(StoreFailed, match="full"):
            await world.writer.write(work)
        heard += 1

    async with running(path) as world:
        jobs = await world.bus.subscribe(Topic.TASK_RUNS, Group.BALANCER)
        planned = world.writer.changed(Change.PLAN)
        world.fill_the_disk()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, world, note("small"))
            nursery.start_soon(hear, world, note("large", big=True))
            nursery.start_soon(hear, world, lambda tx: tx.publish([record(1)]))
            nursery.start_soon(hear, world, lambda tx: tx.touch(Change.PLAN))
        assert (heard, world.notes(), planned.is_set()) == (4, [], False)
        assert "full" in (world.writer.failing or "")
        world.make_room()
        await world.bus.publish([record(2)])
        assert world.writer.failing is None
        assert numbers(await jobs.receive()) == [2]


async def test_what_was_learned_of_rows_is_forgotten_with_them(path: Path) -> None:
    known: set[str] = set()

    def learn(name: str, then: Callable[[Tx], object]) -> Callable[[Tx], object]:
        def work(tx: Tx) -> object:
            known.add(name)
            tx.if_undone(lambda: known.remove(name))
            return then(tx)

        return work

    async with running(path) as world:
        await world.writer.write(learn("kept", note("a")))
        with pytest.raises(Conflict):
            await world.writer.write(learn("refused", refused("b")))
        assert known == {"kept"}
        world.fill_the_disk()
        with pytest.raises(StoreFailed):
            await world.writer.write(learn("lost", note("large", big=True)))
        assert known == {"kept"}


async def test_the_bus_is_exact_after_a_full_disk(path: Path) -> None:
    async with running(path) as world:
        jobs = await world.bus.subscribe(Topic.TASK_RUNS, Group.BALANCER)
        await world.bus.publish([record(number) for number in range(10)])
        found = await take(jobs, 10)
        world.fill_the_disk()

        def forward(tx: Tx) -> None:
            receipts = Receipts(Group.BALANCER, Topic.TASK_RUNS, 0, [d.offset for d in found])
            tx.ack([receipts])
            tx.publish([record(99)])
            note("large", big=True)(tx)

        with pytest.raises(StoreFailed):
            await world.writer.write(forward)
        world.make_room()
        acked = Receipts(Group.BALANCER, Topic.TASK_RUNS, 0, [d.offset for d in found[:4]])
        await world.bus.forward([acked], [record(10)])
        (last,) = await take(jobs, 1)
        assert (numbers([last]), last.offset) == ([10], 10)
    async with running(path) as world:
        jobs = await world.bus.subscribe(Topic.TASK_RUNS, Group.BALANCER)
        assert numbers(await take(jobs, 7)) == [4, 5, 6, 7, 8, 9, 10]


async def test_our_services_wait_for_room(path: Path, autojump_clock: MockClock) -> None:
    results: list[str] = []

    async def insist(world: World) -> None:
        results.append(await world.writer.insist(note("large", big=True)))

    async with running(path) as world:
        world.fill_the_disk()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(insist, world)
            await trio.sleep(30)
            assert (results, world.notes()) == ([], [])
            world.make_room()
        assert (results, len(world.notes())) == (["large"], 1)


async def test_work_that_was_taken_up_ends_before_its_cancellation(path: Path) -> None:
    async with running(path) as world:
        world.gate.open = trio.Event()
        scope = trio.CancelScope()

        async def write() -> None:
            with scope:
                await world.writer.write(note("taken up"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            assert world.notes() == []
            world.gate.open.set()
        assert world.notes() == ["taken up"]
        with trio.move_on_after(0) as scope:
            await world.writer.write(note("never handed in"))
        assert scope.cancelled_caught
        assert world.notes() == ["taken up"]


async def test_what_was_handed_in_before_the_end_is_written(path: Path) -> None:
    async with running(path) as world:
        world.gate.open = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.writer.write, note("first"))
            await wait_all_tasks_blocked()
            nursery.start_soon(world.writer.write, note("second"))
            await wait_all_tasks_blocked()
            world.gate.open.set()
        assert world.notes() == ["first", "second"]


async def test_after_the_end_nothing_is_taken(path: Path) -> None:
    async with running(path) as world:
        pass
    with pytest.raises(Unavailable, match="stopped"):
        await world.writer.write(note("late"))


async def test_nobody_waits_for_a_writer_that_died(path: Path) -> None:
    """Those who wait are shielded: a bug in the writer must end the process, not hang it."""

    class Broken:
        def persist(self, conn: sqlite3.Connection, pieces: Sequence[Tx]) -> Callable[[], None]:
            message = f"a bug with {conn} and {pieces}"
            raise RuntimeError(message)

        def rolled_back(self) -> None:
            """Nothing is kept."""

    world = World(path)
    writer = Writer(world.conn, world.gate, Broken())
    with trio.fail_after(5), pytest.RaisesGroup(RuntimeError, Unavailable, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            nursery.start_soon(writer.write, note("one"))
    world.conn.close()


async def test_changes_wake_who_asked_before_them(path: Path) -> None:
    async with running(path) as world:
        planned = world.writer.changed(Change.PLAN)
        schedules = world.writer.changed(Change.SCHEDULES)
        await world.writer.write(lambda tx: tx.touch(Change.PLAN))
        assert (planned.is_set(), schedules.is_set()) == (True, False)
        assert not world.writer.changed(Change.PLAN).is_set()


async def test_a_patient_caller_is_answered_after_the_commit_its_own_leads_to(path: Path) -> None:
    def first(tx: Tx) -> str:
        tx.touch(Change.PLAN)
        return note("a")(tx)

    async with running(path) as world:
        seen: list[list[str]] = []

        async def patiently() -> None:
            await world.writer.write(first, patient=True)
            seen.append(world.notes())

        async def follow(changed: trio.Event) -> None:
            await changed.wait()
            await world.writer.write(note("b"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, world.writer.changed(Change.PLAN))
            nursery.start_soon(patiently)
        assert seen == [["a", "b"]]
        with trio.fail_after(5):  # Nothing follows: the answer comes at once.
            await world.writer.write(note("c"), patient=True)
