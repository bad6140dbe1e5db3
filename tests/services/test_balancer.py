"""Decides that what was said to the balancer about waiting jobs outlives it."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from control.model.states import Role
from control.transactions import client_announcements
from store import clients
from store.database.writer import Tx
from tests.services.plane import Plane, opened, pipeline

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def start(plane: Plane, nursery: trio.Nursery) -> None:
    await nursery.start(plane.trigger.run)
    await nursery.start(plane.balancer.run)
    await wait_all_tasks_blocked()


def limit(tx: Tx) -> None:
    wanted = clients.Terms(
        role=Role.SUBMITTER, priority=3, max_queued=None, max_running=1, enabled=True
    )
    client_announcements.tell(tx, clients.update(tx.conn, "ann", wanted))


def waiting(plane: Plane) -> dict[int, tuple[int, ...]]:
    core = plane.balancer._core  # noqa: SLF001 - Nothing shows the order but what is placed.
    return {job_id: found.job.order for job_id, found in core.waiting.jobs.items()}


async def test_a_client_s_new_limits_outlive_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.submit(pipeline("p"))
        await wait_all_tasks_blocked()
        assert waiting(plane) == {1: (10, 10, 0, 10)}
        await plane.writer.write(limit)
        await wait_all_tasks_blocked()
        assert waiting(plane) == {1: (3, 10, 0, 10)}
    async with opened(tmp_path) as (plane, nursery):
        await start(plane, nursery)
        assert waiting(plane) == {1: (3, 10, 0, 10)}


async def test_a_job_s_new_priority_outlives_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.submit(pipeline("p"), count=2)
        await plane.writer.write(lambda tx: plane.ledger.set_priority(tx, 2, 1, now_ms=0))
        await wait_all_tasks_blocked()
        assert waiting(plane) == {1: (10, 10, 0, 10), 2: (10, 10, 0, 1)}
    async with opened(tmp_path) as (plane, nursery):
        await start(plane, nursery)
        assert waiting(plane) == {1: (10, 10, 0, 10), 2: (10, 10, 0, 1)}
        await plane.writer.write(lambda tx: plane.ledger.cancel_job(tx, 2, "so", now_ms=0))
        await wait_all_tasks_blocked()
        assert waiting(plane) == {1: (10, 10, 0, 10)}
