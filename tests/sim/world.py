"""Owns one simulated run: clients, operators, workers, faults, restarts, all from one seed."""

import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from control.model import limits
from control.model.errors import Rejected, Unavailable
from control.model.names import Group, Topic
from control.model.records import Receipts
from control.model.states import FINAL
from store import schedules
from store.writer import Tx
from tests.services.plane import EPOCH_MS, Plane, now_ms, opened
from tests.sim.checks import Checks
from tests.sim.pipelines import any_pipeline, scheduled, triggered
from tests.sim.workers import Network, SimWorker

TROUBLE_S: Final = 60.0  # How long things break.
SETTLE_S: Final = 15.0  # After a restart the balancer may not know yet what runs.
PATIENCE_S: Final = 600  # Until everything must have ended.
FAULTS: Final = ("crash", "crash and disk", "drop", "drop", "freeze", "pause", "drain")
MAX_RUNNING: Final = {"bob": 2}


class World:
    """Everything of one seed."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.history: deque[str] = deque(maxlen=200)
        self.checks = Checks()
        self.submitted: list[int] = []
        self._directory = directory
        self._network = Network()
        self._calm = False
        self._all_submitted = False
        self._over = trio.Event()
        self._opened_at = 0.0
        self._workers = [
            SimWorker(f"w{at}", self.rng.randint(1, 4), self._network, self._new_rng())
            for at in range(3)
        ]

    def _new_rng(self) -> random.Random:
        return random.Random(self.rng.random())

    def say(self, text: str) -> None:
        """Note what happened, for whoever has to understand a failure."""
        self.history.append(f"{trio.current_time():9.3f} {text}")

    async def run(self) -> None:
        """Trouble for a minute, then calm until everything has ended."""
        async with trio.open_nursery() as nursery:
            for worker in self._workers:
                nursery.start_soon(worker.run)
            for task in (self._submit, self._operate, self._break_workers):
                nursery.start_soon(task, self._new_rng())
            nursery.start_soon(self._settle)
            first = True
            while not self._over.is_set():
                await self._live(first=first)
                first = False
                await trio.sleep(self.rng.uniform(0.05, 3.0))
            nursery.cancel_scope.cancel()

    async def _live(self, *, first: bool) -> None:
        """One life of the control plane."""
        async with opened(self._directory, jitter=lambda: self.rng.uniform(-0.1, 0.1)) as (
            plane,
            nursery,
        ):
            self.say("the plane starts")
            self._opened_at = trio.current_time()
            if first:
                plane.client("ann")
                for client, most in MAX_RUNNING.items():
                    plane.client(client, max_running=most)
            await self._observe(plane, nursery)
            for service in (
                plane.trigger,
                plane.dispatcher,
                plane.balancer,
                plane.planner,
                plane.publisher,
            ):
                await nursery.start(service.run)
            if first:
                await plane.put(triggered())
                await plane.put(scheduled(self.rng))
            plane.committed = lambda: self._committed(plane)
            self._network.up(plane)
            nursery.start_soon(self._break_plane, plane)
            async with trio.open_nursery() as waits:
                for event in (plane.died, self._over):
                    waits.start_soon(_then_cancel, event, waits.cancel_scope)
            self.say("the plane dies")
            self._network.down()

    def _committed(self, plane: Plane) -> None:
        self.checks.committed(plane.conn)
        if trio.current_time() - self._opened_at > SETTLE_S:
            self.checks.leases(plane, MAX_RUNNING)

    async def _observe(self, plane: Plane, nursery: trio.Nursery) -> None:
        topic, group = Topic.TASK_RUN_RESULTS, Group.STATISTICS
        results = await plane.bus.subscribe(topic, group)

        async def observe() -> None:
            while True:
                found = await results.receive()
                for delivery in found:
                    self.checks.result(delivery)
                offsets = [delivery.offset for delivery in found]
                await plane.bus.forward([Receipts(group, topic, 0, offsets)], [])

        nursery.start_soon(observe)

    # Who uses it.

    async def _submit(self, rng: random.Random) -> None:
        for number in range(40):
            await trio.sleep(rng.expovariate(40 / TROUBLE_S))
            client, count = rng.choice(("ann", "bob")), rng.choice((1, 1, 1, 4))
            definition = any_pipeline(rng, number)
            while True:
                plane = await self._network.reach()
                try:
                    found = await plane.submit(definition, client, count)
                except Unavailable:
                    await trio.sleep(0.5)
                    continue
                self.say(f"{client} submits {found}")
                self.submitted += found
                break
        self._all_submitted = True

    async def _operate(self, rng: random.Random) -> None:
        while not self._calm:
            await trio.sleep(rng.expovariate(1.0))
            plane = await self._network.reach()
            work = self._order(plane, rng)
            if work is None:
                continue
            try:
                await plane.writer.write(work)
            except (Rejected, Unavailable):
                continue

    def _order(self, plane: Plane, rng: random.Random) -> Callable[[Tx], object] | None:
        known = plane.runs()
        if not known:
            return None
        run, ledger = rng.choice(known), plane.ledger
        job = rng.choice(run.jobs)
        what = rng.choice(("cancel", "retry", "retry", "cancel job", "priority"))
        self.say(f"an operator: {what} run {run.id} job {job.id}")

        def order(tx: Tx) -> None:
            if what == "cancel":
                ledger.cancel_run(tx, run.id, "by order", now_ms=now_ms())
            elif what == "cancel job":
                ledger.cancel_job(tx, job.id, "by order", now_ms=now_ms())
            elif what == "priority":
                ledger.set_priority(tx, job.id, rng.randint(0, 20), now_ms=now_ms())
            else:
                ledger.retry_run(tx, run.id, now_ms=now_ms())
                self.checks.retried.add(run.id)

        return order

    # What breaks.

    async def _break_workers(self, rng: random.Random) -> None:
        while not self._calm:
            await trio.sleep(rng.expovariate(0.7))
            worker = rng.choice(self._workers)
            fault = rng.choice(FAULTS)
            self.say(f"{worker.name}: {fault}")
            if fault == "drop":
                worker.drop()
            elif fault == "drain":
                worker.drain()
            elif fault == "freeze":
                worker.freeze(rng.uniform(11, 20))
            elif fault == "pause":
                worker.freeze(rng.uniform(0.1, 5))
            else:
                worker.crash(with_disk=fault == "crash")

    async def _break_plane(self, plane: Plane) -> None:
        await trio.sleep(self.rng.expovariate(1 / 12))
        if not self._calm:
            plane.commits_left = self.rng.randint(0, 3)  # Inside a commit, and what follows it.

    async def _settle(self) -> None:
        await trio.sleep(TROUBLE_S)
        self._calm = True
        self.say("calm")
        await self._pause_schedules()
        await self._until(self._is_done)
        plane = await self._network.reach()
        await self._until(lambda: not plane.unread())
        await self._until(lambda: all(worker.protocol.finished for worker in self._workers))
        await trio.sleep(2 * limits.RESTART_GRACE_S)
        produced: dict[tuple[int, int], set[bytes]] = {}
        for worker in self._workers:
            for attempt, outputs in worker.produced.items():
                produced.setdefault(attempt, set()).update(outputs)
        assert {run.id for run in plane.runs()} >= set(self.submitted)
        self.checks.at_the_end(plane, produced)
        self._every_nominal_time_once(plane)
        self._over.set()

    async def _until(self, reached: Callable[[], bool]) -> None:
        """Look once a second: what is waited for may never come, and has no event."""
        for _ in range(PATIENCE_S):
            if reached():
                return
            await trio.sleep(1.0)
        plane = await self._network.reach()
        for run in plane.runs():
            if run.state not in FINAL:
                self.say(f"run {run.id} is {run.state}: {run.reason}")
                for job in run.jobs:
                    waits = await plane.balancer.waits(job.id)
                    why = "the balancer does not have it" if waits is None else waits.why
                    self.say(f"  job {job.id} is {job.state}: {job.reason}; {why}")
        for worker in self._workers:
            self.say(f"{worker.name}: {vars(worker.protocol)}")
        self.say(f"leases: {plane.dispatcher.leases.links}")
        message = "it has not come to an end"
        raise AssertionError(message)

    async def _pause_schedules(self) -> None:
        def pause(tx: Tx) -> None:
            for schedule in schedules.listing(tx.conn, after=0, limit=10):
                schedules.set_paused(tx.conn, schedule.id, paused=True, now_ms=now_ms())

        while True:
            plane = await self._network.reach()
            try:
                await plane.writer.write(pause)
            except Unavailable:
                await trio.sleep(0.5)
                continue
            break

    def _is_done(self) -> bool:
        plane = self._network.plane
        return (
            plane is not None
            and self._all_submitted
            and all(run.state in FINAL for run in plane.runs())
        )

    def _every_nominal_time_once(self, plane: Plane) -> None:
        sql = "SELECT scheduled_for_ms FROM runs WHERE schedule_id = 1 ORDER BY 1"
        found = [row[0] for row in plane.conn.execute(sql)]
        first = EPOCH_MS + 20_000
        assert found == list(range(first, first + 20_000 * len(found), 20_000))
        assert len(found) >= 2, found


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
