"""Owns a system with consoles, on virtual time: jobs, workers, and links come, fail, and go.

The balancer, dispatcher, trigger, and live events are real. What consoles show is compared with
what is counted here in the plainest way: in the database, in leases, and in all that was said.
"""

import random
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import trio
import trio._core._run as scheduler

from control.api.auth.authentication import Caller
from control.api.live.broadcaster import Events
from control.api.live.projection import Live
from control.api.metrics import Metrics
from control.api.ports import Parts
from control.model.api.live import Frame, Watch
from control.model.api.queues import Queues
from control.model.api.views import Page
from control.model.bus.messages import Finished, Skipped
from control.model.names import Topic
from control.model.states import FINAL, Outcome, Role, State
from store.database.reader import Reader
from store.revision_cache import Outlines
from store.views import RunFilter, Views
from tests.services.plane import Plane, inline, job, now_ms, opened, pipeline
from tests.sim.links import Network
from tests.sim.processes import Processes
from tests.sim.workers import SimWorker
from tui.core.store import FetchedAnswer, Store

_SECONDS: Final = (0.0, 0.01, 0.3, 2.0, 25.0, 40.0)  # Long ones: much stands still at times.
_CALM_S: Final = 3.5  # Nothing happened for so long: whoever listens has been told of all.
_PATIENCE: Final = 400
_RUNS_MAX: Final = 100
FAILED: Final = {Outcome.FAILED, Outcome.TIMED_OUT}


class Counted(msgspec.Struct, kw_only=True):
    """What was said on the bus, each attempt once."""

    attempts: int = 0
    ended: int = 0
    errors: int = 0
    retries: int = 0
    lost: int = 0


class Console:
    """A store that is fed while its link is up, and then stays as it was.

    `watches`: it says which runs it shows, as the overview does; else it is told of all.
    """

    def __init__(self, name: str, events: Events, *, watches: bool) -> None:
        self.store = Store()
        self.up = False
        self._watches = watches
        self._who = Caller(client_id=name, role=Role.VIEWER)
        self._events = events
        self._link = trio.CancelScope()

    def connect(self, nursery: trio.Nursery) -> None:
        """Come (back), and take frames until the link is lost."""
        self.up, self._link = True, trio.CancelScope()
        nursery.start_soon(self._follow, self._link)

    def lose(self) -> None:
        """The link breaks."""
        self.up = False
        self._link.cancel()

    async def _follow(self, link: trio.CancelScope) -> None:
        with link:
            listener = self._events.join(self._who)
            try:
                while True:
                    if self._watches:
                        shown = [run.id for run in self.store.open_runs()]
                        wanted = Watch(runs=shown[:_RUNS_MAX], jobs_of=0)
                        self._events.heed(listener, msgspec.json.encode(wanted).decode())
                    raw = await self._events.next_frame(listener)
                    self.store.take(msgspec.json.decode(raw, type=Frame), now_ms())
            finally:
                self._events.leave(listener)


class Life:
    """One life of the system."""

    def __init__(self, plane: Plane, nursery: trio.Nursery, rng: random.Random) -> None:
        self.plane = plane
        self.rng = rng
        self.views = Views(Outlines())
        self.reader = Reader(plane.path, inline)
        self.live = Live(plane.bus, Metrics(), now_ms)
        unused = cast("Any", None)
        self.parts = Parts(
            reader=self.reader,
            writer=plane.writer,
            ledger=plane.ledger,
            views=self.views,
            bus=plane.bus,
            gate=unused,
            kinds=unused,
            offload=inline,
            balancing=plane.balancer,
            reports=unused,
            logs=unused,
            health=unused,
            clock=plane.clock,
            random_bytes=rng.randbytes,
            life="data.1",
            note_rotated=lambda _client, _secret: None,
        )
        self.events = Events(self.parts, self.live, "1")
        self.network = Network()
        self.network.nursery = nursery
        processes = Processes((), one_each=False)
        self.workers = [
            SimWorker(
                f"w{at}", self.network, processes, random.Random(at), lambda: 0, seconds=_SECONDS
            )
            for at in range(3)
        ]
        self.consoles = [Console(f"c{at}", self.events, watches=at > 0) for at in range(3)]
        self.counted = Counted()
        self._seen: set[tuple[int, int]] = set()
        self._nursery = nursery

    async def begin(self) -> None:
        """Start everything; nothing has happened yet."""
        self.plane.client("ann")
        results = await self.plane.bus.tail(Topic.TASK_RUN_RESULTS)
        events = await self.plane.bus.tail(Topic.TASK_RUN_EVENTS)
        for subscription in (results, events):
            self._nursery.start_soon(self._count, subscription)
        for service in (self.plane.trigger, self.plane.dispatcher, self.plane.balancer):
            await self._nursery.start(service.run)
        await self._nursery.start(self.live.run)
        await self._nursery.start(self.events.run)
        self.network.up(self.plane)
        for worker in self.workers:
            self._nursery.start_soon(worker.run)

    async def _count(self, subscription: Any) -> None:  # noqa: ANN401 - a bus's own.
        while True:
            for delivery in await subscription.receive():
                message = delivery.message
                if not isinstance(message, Finished | Skipped):
                    continue
                attempt = (message.job_id, message.attempt)
                if attempt in self._seen:
                    continue
                self._seen.add(attempt)
                counted = self.counted
                if isinstance(message, Skipped):
                    counted.ended += 1
                    continue
                counted.attempts += 1
                counted.ended += message.final
                counted.errors += message.outcome in FAILED
                counted.retries += message.outcome in FAILED and not message.final
                counted.lost += message.outcome is Outcome.LOST

    async def go_on(self, number: int) -> None:
        """Something happens."""
        rng = self.rng
        what = rng.choice(("submit", "submit", "submit", "cancel", "worker", "link", "link"))
        if what == "submit":
            jobs = [
                job(f"j{at}", rng.choice("ab"), retry_attempt=rng.choice((0, 1)), labels=labels)
                for at in range(rng.randint(1, 4))
                for labels in (("gpu",) if rng.random() < 0.15 else (),)
            ]
            jobs.sort(key=lambda each: each.stage)
            await self.plane.submit(pipeline(f"p{number % 5}", *jobs), count=rng.choice((1, 1, 3)))
        elif what == "cancel":
            open_runs = [run.id for run in self.plane.runs() if run.state not in FINAL]
            if open_runs:
                run_id, at_ms = rng.choice(open_runs), now_ms()
                await self.plane.writer.write(
                    lambda tx: self.plane.ledger.cancel_run(tx, run_id, "by order", now_ms=at_ms)
                )
        elif what == "worker":
            worker = rng.choice(self.workers)
            rng.choice((worker.drop, worker.drain, lambda: worker.crash(with_disk=True)))()
        else:
            console = rng.choice(self.consoles)
            if console.up:
                console.lose()
            else:
                console.connect(self._nursery)
        await trio.sleep(rng.choice((0.0, 0.1, 1.0, 4.0)))

    async def calm(self) -> bool:
        """Wait until nothing has happened for a while."""
        for _ in range(_PATIENCE):
            before = self.live.changes
            await trio.sleep(_CALM_S)
            if self.live.changes == before:
                return True
        return False

    async def ask(self, store: Store) -> None:
        """Ask what the overview asks."""
        for state in (State.IN_PROGRESS, State.READY):
            shown, _ = await self.reader.read(
                lambda conn, state=state: self.views.runs(  # type: ignore[misc]
                    conn, RunFilter(state=state), below=None, limit=_RUNS_MAX
                )
            )
            for run in shown:
                store.put_run(run)
            store.answers[f"open.{state}"] = FetchedAnswer(value=Page(items=shown), at_ms=now_ms())
        store.answers["queues"] = FetchedAnswer(value=await self.queues(), at_ms=now_ms())

    async def queues(self) -> Queues:
        """What waits at the balancer."""
        return await self.plane.balancer.queues(1_000, None)

    def one(self, sql: str, *given: object) -> int:
        """A number of the database's."""
        return int(self.plane.conn.execute(sql, given).fetchone()[0])

    def held(self) -> Sequence[Any]:
        """Every lease there is."""
        return list(self.plane.dispatcher.leases._held.values())  # noqa: SLF001


@contextmanager
def _closing(reader: Reader) -> Any:  # noqa: ANN401 - a generator.
    try:
        yield
    finally:
        reader.close()


def replayable(seed: int) -> None:
    """Which task runs first is the seed's to say, not chance's."""
    vars(scheduler)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    scheduler._r.seed(seed)  # noqa: SLF001


async def live(directory: Path, seed: int, check: Any) -> int:  # noqa: ANN401 - an async function.
    """Live for a while, and call `check` whenever all stands still; gives how often."""
    checks = 0
    async with opened(directory) as (plane, nursery):
        life = Life(plane, nursery, random.Random(seed))
        with _closing(life.reader):
            await life.begin()
            for number in range(60):
                await life.go_on(number)
                if number % 12 == 11 and await life.calm():
                    checks += 1
                    await check(life)
    return checks
