"""Starts the real API on a real socket, with a real database and bus, for tests to call."""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import msgspec
import trio

from control.api.auth.authentication import Gate, hash_secret, stored_logins
from control.api.ports import Parts
from control.api.remote_balancer import BalancerElsewhere
from control.api.server import Api
from control.bus.embedded.bus import EmbeddedBus
from control.bus.embedded.log import Journal
from control.model.api.balancer import ClassChange, LoadOfPartition, Rules, Waits
from control.model.api.queues import Queues, WaitingClass, WaitingGroup, WaitingReason
from control.model.api.views import CheckView
from control.model.clock import Clock
from control.model.kinds import Kind, KindRegistry
from control.model.names import Group, Metric, Topic
from control.model.states import Role, Speed
from control.services.job_logs import JobLogs
from control.transactions.graphs import Graphs
from control.transactions.run_transactions import Ledger
from store import clients
from store.bus_log import SqliteLogRows
from store.clients import Terms
from store.database.reader import Reader
from store.database.state import open_state
from store.database.writer import Writer
from store.facts.database import Facts
from store.log_files import LogFiles
from store.revision_cache import Outlines
from store.views import Views
from workers.kinds.sleep import Sleep

NOW_MS: Final = 1_795_000_000_000
SECRET: Final = "open sesame"
# One hash for all: each costs 50 ms.
HASH: Final = hash_secret(SECRET, bytes(16))
PIPELINE: Final = {
    "name": "nightly",
    "stages": ["a", "b"],
    "jobs": [
        {"name": "one", "stage": "a", "kind": "Sleep", "params": {"seconds": 1}},
        {"name": "two", "stage": "b", "kind": "Sleep", "params": {"seconds": 1}},
    ],
}


RULES: Final = Rules(
    slow_share=0.6,
    split_auto=False,
    threshold_s=12.5,
    threshold_auto=True,
    lend=True,
    slots=2,
    reserve=1,
    slow_running=1,
    waiting=37,
    stragglers=(("w2", 1.5), ("w1", 4.8)),
    changes=(
        ClassChange(
            at_ms=NOW_MS,
            pipeline="nightly",
            name="one",
            speed=Speed.SLOW,
            expected_s=20.0,
            threshold_s=12.5,
            reason="its jobs are expected to take 20 s now",
        ),
    ),
)


def waits_for(why: str) -> Waits:
    """A job that waits for this."""
    return Waits(
        why=why,
        speed=Speed.FAST,
        expected_s=2.1,
        known=True,
        sent_ahead=False,
        ahead=37,
        at_least=True,
        refused="no free slot",
        refused_ms=NOW_MS - 1_000,
    )


def queues_of(client: str, groups: int) -> Queues:
    """This client waits for a slot."""
    group = WaitingGroup(
        reason="no free slot",
        client=client,
        pipeline="nightly",
        stage="a",
        job="one",
        speed=Speed.FAST,
        jobs=2,
        order=(10, 10, 0, 10),
        expected_seconds=2.5,
        ready_seconds=1.0,
        run_id=1,
        job_id=1,
    )
    waiting = WaitingClass(speed=Speed.FAST, jobs=4, expected_seconds=10.0, oldest_seconds=1.0)
    return Queues(
        items=[group] * groups,
        reasons=[WaitingReason(reason="no free slot", jobs=2 * groups + 2)],
        classes=[waiting],
        groups_more=1,
    )


class StillBalancing:
    """A balancer that says what it was told to say."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def partitions(self) -> Sequence[LoadOfPartition]:
        """One partition."""
        return [
            LoadOfPartition(
                partition=0,
                speed=Speed.FAST,
                slots=2,
                running=1,
                depth=3,
                expected_s=4.5,
                ahead_s=0.01,
                window_s=0.04,
                oldest_ms=NOW_MS - 1_500,
                workers=("w1",),
            )
        ]

    def rules(self) -> Rules:
        """Always the same."""
        return RULES

    async def waits(self, job_id: int) -> Waits:
        """Always the same."""
        await trio.lowlevel.checkpoint()
        return waits_for(f"no worker is connected for {job_id}")

    async def queues(self, limit: int, client: str | None) -> Queues:
        """As many groups as may be, one less being left out."""
        await trio.lowlevel.checkpoint()
        self.asked.append(client)
        return queues_of(client or "ann", limit)

    def expected(self, pipeline: str, name: str) -> float:
        """Always the same."""
        return 2.5 if pipeline != name else 0.0


class Healthy:
    """Parts that are well until a test says otherwise."""

    def __init__(self) -> None:
        self.problems: dict[str, str | None] = {"store": None, "balancer": None}

    def parts(self) -> Mapping[str, str | None]:
        """How the parts are."""
        return self.problems

    def warnings(self) -> list[str]:
        """Nothing."""
        return []

    async def examine(self) -> list[CheckView]:
        """One check."""
        await trio.lowlevel.checkpoint()
        return [CheckView(check="bus", ok=True, detail="it is there")]

    def counts(self) -> Mapping[Metric, float]:
        """Two counters."""
        return {Metric.COMMITS: 7, Metric.REFUSED: 1}

    def lags(self) -> Mapping[tuple[str, str], int]:
        """Of one group."""
        return {("trigger", "task_run_results"): 3}


class Serving:
    """The API that runs, and clients of every role to call it with."""

    def __init__(
        self, parts: Parts, api: Api, port: int, health: Healthy, stopped: trio.Event
    ) -> None:
        self.parts = parts
        self.api = api
        self.port = port
        self.health = health
        self.stopped = stopped
        self.url = f"http://127.0.0.1:{port}"

    async def add_client(self, client_id: str, role: Role, **terms: int) -> None:
        """Another client; its secret is `SECRET`."""
        wanted = Terms(role=role, priority=10, max_queued=None, max_running=None, enabled=True)
        wanted = msgspec.structs.replace(wanted, **terms)
        await self.parts.writer.write(
            lambda tx: clients.create(tx.conn, client_id, wanted, secret_hash=HASH, now_ms=NOW_MS)
        )

    def as_client(self, client_id: str | None, **headers: str) -> httpx.AsyncClient:
        """Somebody who calls."""
        auth = None if client_id is None else httpx.BasicAuth(client_id, SECRET)
        return httpx.AsyncClient(base_url=self.url, auth=auth, headers=headers, timeout=30)


@asynccontextmanager
async def serving(
    folder: Path, *, queue_size: int = 1_000, elsewhere: bool = False
) -> AsyncIterator[Serving]:
    """Run the API until the test is over. There is a client for each role, named after it.

    `elsewhere`: what it knows of a balancer comes over the bus.
    """
    conn = open_state(folder / "state.db")
    journal = Journal(SqliteLogRows())
    offload = trio.to_thread.run_sync
    writer = Writer(conn, offload, journal)
    bus = EmbeddedBus(journal, writer.insist)
    reader = Reader(folder / "state.db", offload)
    facts, health = Facts(folder / "facts.duckdb"), Healthy()
    files = LogFiles(folder / "logs")
    numbers = itertools.count(1)
    kinds: dict[str, dict[str, type[Kind[msgspec.Struct]]]] = {
        "Sleep": {"1.0.0": Sleep}  # type: ignore[dict-item]  # Its params are a Struct.
    }
    over_the_bus = BalancerElsewhere(bus)
    parts = Parts(
        reader=reader,
        writer=writer,
        ledger=Ledger(Graphs(), queue_size, lambda: NOW_MS),
        views=Views(Outlines()),
        bus=bus,
        gate=Gate(stored_logins(reader), offload, bytes(32)),
        kinds=KindRegistry(kinds),
        offload=offload,
        balancing=over_the_bus if elsewhere else StillBalancing(),
        reports=facts,
        logs=JobLogs(bus, files, offload),
        health=health,
        clock=Clock(lambda: NOW_MS, lambda: 0),
        random_bytes=lambda count: next(numbers).to_bytes(count, "big"),
        life="data.1",
        note_rotated=lambda _client, _secret: None,
    )
    api = Api(parts, host="127.0.0.1", port=0, version="0.1.0")
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        await bus.subscribe(Topic.TASK_RUNS, Group.BALANCER)
        assert isinstance(parts.logs, JobLogs)
        await nursery.start(parts.logs.run)
        if elsewhere:
            await nursery.start(over_the_bus.run)
        stopped = trio.Event()
        port = await nursery.start(_serve, api, stopped)
        found = Serving(parts, api, port, health, stopped)
        for role in Role:
            await found.add_client(role, role)
        yield found
        nursery.cancel_scope.cancel()
    reader.close()
    files.close()
    facts.close()
    conn.close()


async def _serve(api: Api, stopped: trio.Event, *, task_status: trio.TaskStatus[int]) -> None:
    await api.run(task_status=task_status)
    stopped.set()
