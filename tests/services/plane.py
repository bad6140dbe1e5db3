"""Owns a control plane for tests: real services, bus and file, on virtual time.

Leaving `opened` is a crash: the file can be written no more, and everybody is cancelled where
they stand.
"""

import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec
import trio

from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.core.balancer.policy import Policy
from control.core.fleet.partition_classes import partition_classes
from control.model import limits
from control.model.clock import Clock
from control.model.errors import NotFound
from control.model.names import Change
from control.model.pipelines import JobSpec, Pipeline, ScheduleSpec, TriggerSpec
from control.model.state_rows import NewRun, RunRow
from control.model.states import Role, Trigger
from control.services.balancer import BalancerService
from control.services.clock_watch import ClockWatch
from control.services.dispatcher import Dispatcher
from control.services.planner import Planner
from control.services.publisher import Publisher
from control.services.trigger import TriggerService
from control.transactions import replace_schedules
from control.transactions.graphs import Graphs
from control.transactions.run_transactions import Ledger
from control.worker_channel import Arrival
from store import catalog, clients, runs, settings
from store.bus_log import SqliteLogRows
from store.database.state import open_state
from store.database.writer import Tx, Writer

T = TypeVar("T")
EPOCH_MS: Final = 1_800_000_000_000  # 2027-01-15T08:00:00Z, when the virtual clock says 0.
PARTITIONS: Final = 4


class Service(Protocol):
    """What `Plane.start` starts."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a plane has of its surroundings, where a test has its own."""

    rows: SqliteLogRows | None = None  # The tables of its bus.
    witness: Callable[[sqlite3.Connection], Callable[[], None]] | None = None  # Of its commits.
    chance: Callable[[int], bytes] | None = None  # What leases are drawn from.


def now_ms() -> int:
    """The virtual clock."""
    return EPOCH_MS + round(trio.current_time() * 1000)


async def inline(sync_fn: Callable[[], T], /) -> T:
    """A thread hop that takes no time."""
    await trio.lowlevel.checkpoint()
    return sync_fn()


def job(name: str, stage: str = "s", **fields: object) -> JobSpec:
    """A job of a pipeline."""
    values: dict[str, object] = {"kind": "Sleep", "version": "1.0.0"}
    return JobSpec(name=name, stage=stage, **(values | fields))  # type: ignore[arg-type]


def pipeline(
    name: str,
    *jobs: JobSpec,
    schedules: tuple[ScheduleSpec, ...] = (),
    triggers: tuple[TriggerSpec, ...] = (),
    timeout: float | None = None,
) -> Pipeline:
    """A pipeline whose stages come in the order in which its jobs name them."""
    listed = jobs or (job("only"),)
    return Pipeline(
        name=name,
        stages=tuple(dict.fromkeys(each.stage for each in listed)),
        jobs=listed,
        schedules=schedules,
        triggers=triggers,
        timeout=timeout,
    )


class Plane:
    """The parts of a control plane, wired as in `control.process.control_plane`."""

    def __init__(
        self,
        directory: Path,
        queue_size: int,
        jitter: Callable[[], float],
        stepped_ms: int = 0,
        surroundings: Surroundings | None = None,
    ) -> None:
        around = surroundings or Surroundings()
        self.path = directory / "state.db"
        self.conn = open_state(self.path)
        self.conn.execute("PRAGMA synchronous = OFF")  # Processes die here, machines do not.
        self.commits_left: int | None = None  # The plane dies in the commit after so many.
        self.died = trio.Event()
        self.pause_s = 0.0  # That a commit takes.
        self.dropped = 0  # Runs that waited, by the last `put`.
        self.committed: Callable[[], None] = lambda: None  # Called between two commits.
        self.journal = Journal(around.rows or SqliteLogRows())
        # What a commit takes in depends on nothing real: a seed is always one run.
        self.writer = Writer(
            self.conn, self._offload, self.journal, around.witness, cpu_s=lambda: 0.0
        )
        self.bus = EmbeddedBus(self.journal, self.writer.insist)
        self.stepped_ms = stepped_ms  # How far somebody has set the wall clock.
        clock = self.clock = Clock(lambda: now_ms() + self.stepped_ms, now_ms)
        record = settings.clock(self.conn)
        clock.resume(record.resumed_ms(clock.wall_ms()))
        self.clock_watch = ClockWatch(clock, self.writer, record)
        self.ledger = Ledger(Graphs(), queue_size, clock.steady_ms)
        send, receive = trio.open_memory_channel[Arrival](limits.ARRIVALS_MAX)
        self.arrivals = send
        self.trigger = TriggerService(self.bus, self.writer, self.ledger, clock, jitter)
        self.planner = Planner(self.writer, clock.wall_ms)
        self.publisher = Publisher(self.writer, self.ledger, clock)
        classes = partition_classes(PARTITIONS, 0.6)
        self.dispatcher = Dispatcher("d", self.bus, classes, receive, clock)
        chance = around.chance or random.Random(7).randbytes
        self.balancer = BalancerService(
            Policy(partitions=PARTITIONS), self.bus, clock.wall_ms, chance
        )

    async def _offload(self, sync_fn: Callable[[], T], /) -> T:
        await trio.sleep(self.pause_s)
        if self.commits_left is not None:
            self.commits_left -= 1
            if self.commits_left < 0:
                self.die()
        found = sync_fn()
        if not self.died.is_set():
            self.committed()
        return found

    def die(self) -> None:
        """From now on nothing is written any more."""
        self.conn.execute("PRAGMA query_only = ON")
        self.died.set()

    def client(
        self, name: str, *, max_queued: int | None = None, max_running: int | None = None
    ) -> None:
        """Add a client, outside of any service."""
        terms = clients.Terms(
            role=Role.SUBMITTER,
            priority=10,
            max_queued=max_queued,
            max_running=max_running,
            enabled=True,
        )
        clients.create(self.conn, name, terms, secret_hash="none", now_ms=EPOCH_MS)

    async def put(self, definition: Pipeline, client: str = "ann") -> int:
        """Store a pipeline with its schedules; gives its revision's id."""
        at_ms = self.clock.wall_ms()

        def work(tx: Tx) -> int:
            put = catalog.put(tx.conn, definition, client, now_ms=at_ms)
            self.dropped = replace_schedules.sync(
                tx.conn, definition.name, definition.schedules, now_ms=at_ms
            )
            tx.touch(Change.SCHEDULES)
            return put.revision_id

        return await self.writer.write(work)

    async def submit(self, definition: Pipeline, client: str = "ann", count: int = 1) -> list[int]:
        """Start runs as the API does; gives their ids."""
        revision_id = await self.put(definition, client)

        def work(tx: Tx) -> list[int]:
            priority, max_running = clients.limits_of(tx.conn, client)
            new = NewRun(
                revision_id=revision_id,
                client=client,
                client_priority=priority,
                max_running=max_running,
                trigger=Trigger.API,
                created_ms=self.clock.wall_ms(),
                input=msgspec.Raw(b'{"a":1}'),
            )
            return [run.id for run in self.ledger.submit(tx, [new] * count)]

        return await self.writer.write(work)

    def run(self, run_id: int) -> RunRow:
        """A run as it is stored now; raises `NotFound`."""
        found = runs.load(self.conn, [run_id])
        if not found:
            raise NotFound
        return found[0]

    def runs(self) -> list[RunRow]:
        """Every run, by id."""
        ids = [row[0] for row in self.conn.execute("SELECT id FROM runs ORDER BY id")]
        return runs.load(self.conn, ids)

    def unread(self, topic: str | None = None) -> int:
        """How many records the log keeps, of one topic or of all."""
        sql = "SELECT coalesce(sum(count), 0) FROM bus_log WHERE ?1 IS NULL OR topic = ?1"
        return int(self.conn.execute(sql, (topic,)).fetchone()[0])


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    queue_size: int = 100_000,
    jitter: Callable[[], float] = lambda: 0.0,
    stepped_ms: int = 0,
    surroundings: Surroundings | None = None,
) -> AsyncIterator[tuple[Plane, trio.Nursery]]:
    """A plane whose writer runs; services are started into the nursery."""
    plane = Plane(directory, queue_size, jitter, stepped_ms, surroundings)
    try:
        async with trio.open_nursery() as foundation:
            await foundation.start(plane.writer.run)
            async with trio.open_nursery() as nursery:
                yield plane, nursery
                plane.die()
                nursery.cancel_scope.cancel()
            foundation.cancel_scope.cancel()
    finally:
        plane.conn.close()
