"""Owns what stands for balancer and workers in tests of the trigger."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from control.bus.interface import Subscription
from control.model.bus.messages import Finished, JobReady
from control.model.bus.records import Receipts, Record
from control.model.names import Group, Topic
from control.model.states import Outcome, Speed
from tests.services.plane import Plane, now_ms, opened


def result(ready: JobReady, outcome: Outcome, **fields: object) -> Finished:
    """How an attempt ended."""
    values: dict[str, object] = {
        "run_id": ready.run_id,
        "job_id": ready.job_id,
        "attempt": ready.attempt,
        "pipeline": ready.pipeline,
        "name": ready.name,
        "stage": ready.stage,
        "client": ready.client,
        "kind": ready.kind,
        "version": ready.version,
        "worker": "w",
        "partition": 0,
        "speed": Speed.FAST,
        "outcome": outcome,
        "final": outcome in {Outcome.DONE, Outcome.CANCELLED} or not ready.retries_left,
        "expected": 0.1,
        "ready_ms": ready.ready_ms,
        "started_ms": now_ms(),
        "finished_ms": now_ms(),
        "wait_seconds": 0.0,
        "duration_seconds": 0.0,
    }
    return Finished(**(values | fields))  # type: ignore[arg-type]  # Each has its own type.


class Hands:
    """Stands for balancer and workers: takes jobs from the bus, and says how they ended."""

    def __init__(self, plane: Plane, jobs: Subscription) -> None:
        self.plane = plane
        self._jobs = jobs
        self._found: list[tuple[JobReady, int]] = []

    @classmethod
    async def join(cls, plane: Plane) -> "Hands":
        return cls(plane, await plane.bus.subscribe(Topic.TASK_RUNS, Group.BALANCER))

    async def take(self) -> JobReady:
        """The next job that may run; it is acknowledged."""
        while not self._found:
            for delivery in await self._jobs.receive():
                assert isinstance(delivery.message, JobReady)
                self._found.append((delivery.message, delivery.offset))
        ready, offset = self._found.pop(0)
        receipts = Receipts(Group.BALANCER, Topic.TASK_RUNS, 0, [offset])
        await self.plane.bus.forward([receipts], [])
        return ready

    async def nothing(self, seconds: float) -> None:
        """No job may run for so long."""
        with trio.move_on_after(seconds):
            ready = await self.take()
            pytest.fail(f"{ready} came")

    async def end(self, ready: JobReady, outcome: Outcome, **fields: object) -> None:
        """Say how it ended, and wait until that was read."""
        ended = result(ready, outcome, **fields)
        await self.plane.bus.publish([Record(Topic.TASK_RUN_RESULTS, ended, ready.run_id)])
        while self.plane.unread(Topic.TASK_RUN_RESULTS):
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[tuple[Plane, Hands]]:
    """A plane with a client and a trigger that serves, and who takes its jobs."""
    async with opened(directory) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.trigger.run)
        yield plane, await Hands.join(plane)
