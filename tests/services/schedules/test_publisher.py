"""Decides that what is due starts once, in time, and whatever `overlap` and `missed` say."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from control.model import limits
from control.model.clock import Clock
from control.model.names import Change
from control.model.pipelines import ScheduleSpec
from control.model.states import Missed, Overlap, State
from control.services.publisher import Publisher
from store import schedules
from store.database.writer import Tx
from tests.services.plane import EPOCH_MS, Plane, job, now_ms, opened, pipeline

MINUTE_MS = 60_000


def every_minute(**rules: object) -> ScheduleSpec:
    values: dict[str, object] = {"cron": "* * * * *"}
    return ScheduleSpec(**(values | rules))  # type: ignore[arg-type]  # Each has its own type.


def nominals(plane: Plane) -> list[int]:
    """In minutes after the epoch, by run."""
    rows = plane.conn.execute("SELECT scheduled_for_ms FROM runs ORDER BY id")
    return [(row[0] - EPOCH_MS) // MINUTE_MS for row in rows]


async def end(plane: Plane, run_id: int) -> None:
    def work(tx: Tx) -> None:
        plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())

    await plane.writer.write(work)


async def start(plane: Plane, nursery: trio.Nursery) -> None:
    await nursery.start(plane.planner.run)
    await nursery.start(plane.publisher.run)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        (Missed.NONE, [1, 2, 11]),
        (Missed.LAST, [1, 2, 10, 11]),
        (Missed.ALL, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ],
)
async def test_an_outage_is_made_up_for_as_the_schedule_says(
    tmp_path: Path, autojump_clock: MockClock, missed: Missed, expected: list[int]
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.put(pipeline("p", schedules=(every_minute(missed=missed),)))
        await trio.sleep(2.5 * 60)
    await trio.sleep(8 * 60)  # Until 10.5: that is more than a tenth of a period after 10.
    async with opened(tmp_path) as (plane, nursery):
        await start(plane, nursery)
        await trio.sleep(60)
        assert nominals(plane) == expected


@pytest.mark.parametrize(
    ("overlap", "expected", "after_the_end"),
    [
        (Overlap.ALLOW, [1, 2, 3], [1, 2, 3]),
        (Overlap.SKIP, [1], [1]),
        (Overlap.QUEUE, [1], [1, 2]),
        (Overlap.REPLACE, [1, 2, 3], [1, 2, 3]),
    ],
)
async def test_a_run_that_has_not_ended_counts_as_the_schedule_says(
    tmp_path: Path,
    autojump_clock: MockClock,
    overlap: Overlap,
    expected: list[int],
    after_the_end: list[int],
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.put(pipeline("p", schedules=(every_minute(overlap=overlap),)))
        await trio.sleep(3.5 * 60)
        assert nominals(plane) == expected
        states = [run.state for run in plane.runs()]
        if overlap is Overlap.REPLACE:
            assert states == [State.CANCELLED, State.CANCELLED, State.READY]
        else:
            assert set(states) == {State.READY}
        await end(plane, plane.runs()[-1].id)
        await trio.sleep(1)
        assert nominals(plane) == after_the_end


@pytest.mark.parametrize("commits", range(8))
async def test_a_nominal_time_starts_once_wherever_the_plane_dies(
    tmp_path: Path, autojump_clock: MockClock, commits: int
) -> None:
    definition = pipeline("p", schedules=(every_minute(missed=Missed.ALL),))
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await plane.put(definition)
        await start(plane, nursery)
        plane.commits_left = commits
        await trio.sleep(4 * 60)
    for _ in range(3):
        async with opened(tmp_path) as (plane, nursery):
            plane.commits_left = commits
            nursery.start_soon(start, plane, nursery)
            await trio.sleep(30)
    async with opened(tmp_path) as (plane, nursery):
        await start(plane, nursery)
        await trio.sleep(60)
        found = nominals(plane)
        assert sorted(set(found)) == sorted(found) == list(range(1, len(found) + 1))
        assert len(found) >= 5
        assert plane.unread() == 0  # Nobody has joined: nothing is kept for nobody.


async def test_a_backlog_larger_than_the_queue_starts_bit_by_bit(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann", max_queued=3)
        await nursery.start(plane.planner.run)
        await plane.put(pipeline("p", schedules=(every_minute(missed=Missed.ALL),)))
        await trio.sleep(10.5 * 60)
        await nursery.start(plane.publisher.run)
        await trio.sleep(1)
        assert nominals(plane) == [1, 2, 3]
        for run in plane.runs():
            await end(plane, run.id)
        await trio.sleep(limits.RETRY_AFTER_S + 1)
        assert nominals(plane) == [1, 2, 3, 4, 5, 6]


async def test_what_never_fits_holds_up_nobody_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    big = pipeline("big", job("a"), job("b"), schedules=(every_minute(),))
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann", max_queued=1)
        plane.client("bob")
        await start(plane, nursery)
        await plane.put(big, "ann")
        await plane.put(pipeline("small", schedules=(every_minute(),)), "bob")
        await trio.sleep(3.5 * 60)
        assert [run.pipeline for run in plane.runs()] == ["small"] * 3


async def test_a_stuck_run_does_not_let_its_queue_grow_for_ever(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    spec = ScheduleSpec(cron="* * * * * *", overlap=Overlap.QUEUE, missed=Missed.ALL)
    async with opened(tmp_path) as (plane, _):
        plane.client("ann")
        await plane.put(pipeline("p", schedules=(spec,)))
        rows = [(EPOCH_MS + n * 1000, EPOCH_MS + n * 1000) for n in range(2_500)]
        await plane.writer.write(lambda tx: schedules.plan(tx.conn, 1, rows))
        await trio.sleep(2_500)
        for _ in range(4):
            await plane.publisher.run_once(now_ms())
        sql = "SELECT count(*), sum(waiting) FROM scheduled_runs WHERE due_ms <= ?"
        assert plane.conn.execute(sql, (now_ms(),)).fetchone() == (1_000, 1_000)
        assert len(plane.runs()) == 1


async def test_a_paused_schedule_has_missed_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.put(pipeline("p", schedules=(every_minute(missed=Missed.ALL),)))
        await trio.sleep(1.5 * 60)
        for paused in (True, False):

            def pause(tx: Tx, paused: bool = paused) -> None:
                schedules.set_paused(tx.conn, 1, paused=paused, now_ms=now_ms())
                tx.touch(Change.SCHEDULES)

            await plane.writer.write(pause)
            await trio.sleep(3 * 60)
        assert nominals(plane) == [1, 5, 6, 7]


async def test_what_was_asked_for_starts_though_it_is_old(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    def backfill(tx: Tx) -> int:
        rows = [(EPOCH_MS - n * MINUTE_MS, now_ms()) for n in (3, 2, 1)]
        tx.touch(Change.PLAN)
        return schedules.plan(tx.conn, 1, rows, backfill=True)

    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.put(pipeline("p", schedules=(every_minute(missed=Missed.NONE),)))
        assert await plane.writer.write(backfill) == 3
        await trio.sleep(1)
        assert sorted(nominals(plane)) == [-3, -2, -1]
        assert await plane.writer.write(backfill) == 0  # They have run.


async def test_a_machine_that_was_suspended_starts_what_is_due_soon_after(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A sleep is measured by a clock that stands still meanwhile."""
    ahead_ms = 0
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.planner.run)
        await plane.put(pipeline("p", schedules=(ScheduleSpec(cron="0 9 * * *"),)))
        clock = Clock(lambda: now_ms() + ahead_ms, lambda: now_ms() + ahead_ms)
        publisher = Publisher(plane.writer, plane.ledger, clock)
        await nursery.start(publisher.run)
        await trio.sleep(1)
        ahead_ms = 60 * MINUTE_MS
        await trio.sleep(limits.CLOCK_LOOK_S)
        assert nominals(plane) == [60]


async def test_a_changed_rule_forgets_nothing_whose_time_has_come(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.put(pipeline("p", schedules=(every_minute(overlap=Overlap.QUEUE),)))
        await trio.sleep(2.5 * 60)
        assert nominals(plane) == [1]
        await plane.put(pipeline("p", schedules=(every_minute(overlap=Overlap.ALLOW),)))
        await trio.sleep(60)
        assert nominals(plane) == [1, 2, 3]
