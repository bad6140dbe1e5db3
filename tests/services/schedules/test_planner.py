"""Decides that the next 48 hours are always planned, and nothing is planned twice."""

from pathlib import Path

import trio
from trio.testing import MockClock

from control.model import limits
from control.model.pipelines import ScheduleSpec
from tests.services.plane import Plane, now_ms, opened, pipeline

HOURLY = pipeline("p", schedules=(ScheduleSpec(cron="0 * * * *"),))
HOUR_MS = 3_600_000


def planned(plane: Plane) -> list[int]:
    """In hours from now."""
    rows = plane.conn.execute("SELECT nominal_ms FROM scheduled_runs ORDER BY nominal_ms")
    return [(row[0] - now_ms()) // HOUR_MS for row in rows]


async def test_48_hours_are_planned_and_move_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.planner.run)
        await plane.put(HOURLY)
        await trio.sleep(1)
        assert planned(plane) == list(range(48))
        await trio.sleep(5 * 3_600 + 2 * limits.PLAN_EVERY_S)
        assert planned(plane)[-1] == 47


async def test_a_new_revision_is_planned_anew(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.planner.run)
        await plane.put(HOURLY)
        await trio.sleep(1)
        twice = pipeline("p", schedules=(ScheduleSpec(cron="0 */2 * * *"),))
        await plane.put(twice)
        await trio.sleep(1)
        assert len(planned(plane)) == 24


async def test_planning_goes_on_where_the_plane_died(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    often = pipeline("p", schedules=(ScheduleSpec(cron="*/20 * * * * *"),))
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await plane.put(often)
        plane.commits_left = 6  # Of the next minutes, of the rest one portion, and no more.
        nursery.start_soon(plane.planner.run)
        await plane.died.wait()
        assert 0 < len(planned(plane)) < 48 * 180
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.planner.run)
        await trio.sleep(1)
        assert len(planned(plane)) == 48 * 180
