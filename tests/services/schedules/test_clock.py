"""Decides that nothing lasts longer or shorter, and nothing is lost, when the wall clock is set."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from control.model import limits
from control.model.pipelines import ScheduleSpec
from control.model.states import Missed, Outcome, State
from control.model.times import from_rfc3339
from control.services.pruner import Pruner
from control.worker_channel import Disconnected, WorkerFrames
from store import catalog
from store.database.writer import Tx
from store.revision_cache import Outlines
from store.views import Views
from tests.services.hands import Hands
from tests.services.plane import Plane, job, now_ms, opened, pipeline
from tests.services.test_dispatcher import assigned, connect, ended, start

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
EVERY_TEN_MINUTES = ScheduleSpec(cron="*/10 * * * *")
STEPS = pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 30 * DAY_MS, -30 * DAY_MS])


async def started(plane: Plane, nursery: trio.Nursery) -> None:
    """All that keeps time."""
    for service in (plane.clock_watch, plane.planner, plane.publisher, plane.trigger):
        await nursery.start(service.run)


@asynccontextmanager
async def scheduled(path: Path, spec: ScheduleSpec = EVERY_TEN_MINUTES) -> AsyncIterator[Plane]:
    """A plane with all that keeps time, and a schedule."""
    async with opened(path) as (plane, nursery):
        plane.client("ann")
        await started(plane, nursery)
        await plane.put(pipeline("p", schedules=(spec,)))
        yield plane


def nominals(plane: Plane) -> list[int]:
    rows = plane.conn.execute(
        "SELECT scheduled_for_ms FROM runs WHERE scheduled_for_ms IS NOT NULL ORDER BY id"
    )
    return [row[0] for row in rows]


@STEPS
async def test_a_retry_comes_after_its_real_delay(
    tmp_path: Path, autojump_clock: MockClock, step_ms: int
) -> None:
    spec = job("a", retry_attempt=1, retry_delay=100.0, retry_delay_max=100.0)
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await started(plane, nursery)
        hands = await Hands.join(plane)
        (run_id,) = await plane.submit(pipeline("p", spec))
        await hands.end(await hands.take(), Outcome.FAILED, error="no")
        begin = trio.current_time()
        await trio.sleep(50)
        plane.stepped_ms += step_ms
        await trio.sleep(10)
        found = Views(Outlines()).job(plane.conn, plane.run(run_id).jobs[0].id)
        shown_ms = from_rfc3339(found.ready_at or "")
        assert abs(shown_ms - (plane.clock.wall_ms() + 40_000)) < 2_000  # By the clock people have.
        ready = await hands.take()
        assert abs(trio.current_time() - begin - 100) < 2
        # A run's times never go back, whatever the clock says.
        began_ms = max(plane.clock.wall_ms(), ready.created_ms)
        assert abs(ready.ready_ms - began_ms) < 2_000


@STEPS
async def test_a_deadline_comes_after_its_real_time_also_over_a_restart(
    tmp_path: Path, autojump_clock: MockClock, step_ms: int
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await started(plane, nursery)
        (run_id,) = await plane.submit(pipeline("p", timeout=100.0))
        begin = trio.current_time()
        await trio.sleep(30)
        plane.stepped_ms += step_ms
        await trio.sleep(30)
        stepped_ms = plane.stepped_ms
        assert plane.run(run_id).state == State.READY
    async with opened(tmp_path, stepped_ms=stepped_ms) as (plane, nursery):
        await started(plane, nursery)
        await trio.sleep(begin + 98 - trio.current_time())
        assert plane.run(run_id).state == State.READY
        await trio.sleep(4)
        run = plane.run(run_id)
        assert run.state == State.ERROR
        assert run.finished_ms is not None
        assert run.finished_ms >= run.created_ms


@STEPS
async def test_a_worker_has_its_grace_and_no_more(
    tmp_path: Path, autojump_clock: MockClock, step_ms: int
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        (run_id,) = await plane.submit(pipeline("p"))
        peer = await connect(plane)
        lease = await assigned(peer)
        await plane.arrivals.send(WorkerFrames(peer, []))
        plane.stepped_ms += step_ms
        await plane.arrivals.send(Disconnected(peer, "closed"))
        await trio.sleep(limits.RECONNECT_GRACE_S / 2)
        back = await connect(plane, lease)
        await plane.arrivals.send(WorkerFrames(back, [ended(lease)]))
        await trio.sleep(1)
        (done,) = plane.run(run_id).jobs
        assert (done.state, done.attempt) == (State.DONE, 1)
        assert done.finished_ms is not None
        assert done.started_ms is not None
        assert done.finished_ms >= done.started_ms


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("ahead_ms", [12 * HOUR_MS, 30 * DAY_MS])
@pytest.mark.parametrize("missed", list(Missed))
async def test_a_clock_ahead_for_a_minute_silences_no_schedule(
    tmp_path: Path, autojump_clock: MockClock, missed: Missed, ahead_ms: int, *, restart: bool
) -> None:
    spec = ScheduleSpec(cron="*/10 * * * *", missed=missed)
    async with scheduled(tmp_path, spec) as plane:
        await trio.sleep(15 * 60)
        right_ms = plane.clock.wall_ms()
        plane.stepped_ms += ahead_ms
        await trio.sleep(60)
        if not restart:
            plane.stepped_ms -= ahead_ms
            await _fires_each_ten_minutes(plane, right_ms)
    if restart:
        async with opened(tmp_path) as (plane, nursery):
            await started(plane, nursery)
            await _fires_each_ten_minutes(plane, right_ms)


async def _fires_each_ten_minutes(plane: Plane, right_ms: int) -> None:
    ahead = set(nominals(plane))  # Of `missed: all`: they have a run each, and get no second one.
    await trio.sleep(60 * 60)
    found = nominals(plane)
    assert len(found) == len(set(found))
    step_ms = 10 * MINUTE_MS
    first_ms = (right_ms // step_ms + 1) * step_ms
    assert set(found) - ahead == set(range(first_ms, now_ms() + 1, step_ms)) - ahead
    assert {at_ms for at_ms in found if first_ms <= at_ms <= now_ms()} == set(
        range(first_ms, now_ms() + 1, step_ms)
    )


@pytest.mark.parametrize("step_ms", [-HOUR_MS, -30 * DAY_MS])
async def test_a_time_that_comes_twice_fires_once(
    tmp_path: Path, autojump_clock: MockClock, step_ms: int
) -> None:
    async with scheduled(tmp_path) as plane:
        await trio.sleep(2 * 3_600 + 30)
        assert len(nominals(plane)) == 12
        plane.stepped_ms += step_ms
        await trio.sleep(60 * 60)
        found = nominals(plane)
        assert len(found) == len(set(found))
        assert len(found) == 12 if step_ms == -HOUR_MS else 18


@pytest.mark.parametrize("step_ms", [-HOUR_MS, -30 * DAY_MS])
async def test_a_schedule_that_has_never_fired_follows_a_clock_that_is_set_back(
    tmp_path: Path, autojump_clock: MockClock, step_ms: int
) -> None:
    async with scheduled(tmp_path) as plane:
        await trio.sleep(10)
        plane.stepped_ms += step_ms
        begin_ms = plane.clock.wall_ms()
        await trio.sleep(60 * 60)
        first_ms = (begin_ms // (10 * MINUTE_MS) + 1) * 10 * MINUTE_MS
        assert nominals(plane) == list(range(first_ms, first_ms + HOUR_MS, 10 * MINUTE_MS))


async def test_a_time_that_the_clock_left_out_was_missed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await started(plane, nursery)
        for missed in Missed:
            spec = ScheduleSpec(cron="*/10 * * * * *", missed=missed)
            await plane.put(pipeline(missed, schedules=(spec,)))
        await trio.sleep(15)
        plane.stepped_ms += 60_000
        await trio.sleep(4)
        started_of = dict.fromkeys(Missed, 0)
        for run in plane.runs():
            started_of[Missed(run.pipeline)] += 1
        assert started_of == {Missed.NONE: 1, Missed.LAST: 2, Missed.ALL: 7}


@pytest.mark.parametrize("step_ms", [HOUR_MS, -30 * DAY_MS])
async def test_a_step_is_stored_and_shown_for_a_day(
    tmp_path: Path, autojump_clock: MockClock, step_ms: int
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.clock_watch.run)
        await trio.sleep(10)
        plane.stepped_ms += step_ms + 300  # Corrections of less than a second are no steps.
        await trio.sleep(2)
        (shown,) = plane.clock_watch.warnings()
        assert shown.startswith(f"the wall clock was set by {step_ms / 1000 + 0.3:+.1f} s, to ")
        assert plane.clock_watch.examine().warning
        assert not plane.clock_watch.settled
    async with opened(tmp_path, stepped_ms=step_ms) as (plane, nursery):
        await plane.clock_watch.run_once()
        assert plane.clock_watch.warnings() == [shown]
        await trio.sleep(24 * 3_600 + 10)
        await plane.clock_watch.run_once()
        assert plane.clock_watch.warnings() == []
        assert plane.clock_watch.settled
        assert not plane.clock_watch.examine().warning


async def test_a_clock_that_was_just_set_forgets_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    forgotten: list[int] = []

    async def forget(what: object) -> None:
        await trio.lowlevel.checkpoint()
        forgotten.append(1)

    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        (run_id,) = await plane.submit(pipeline("p"))
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())
        )
        watch = plane.clock_watch
        pruner = Pruner(
            plane.writer,
            7.0,
            plane.clock,
            lambda: watch.settled,
            forget_logs=forget,
            forget_facts=forget,
        )
        await nursery.start(pruner.run)
        await trio.sleep(60)
        forgotten.clear()
        plane.stepped_ms += 30 * DAY_MS
        await trio.sleep(3_600)
        assert not forgotten  # Even if nobody had noticed it yet.
        await watch.run_once()
        await trio.sleep(20 * 3_600)
        assert not forgotten
        plane.stepped_ms -= 30 * DAY_MS
        await watch.run_once()
        await trio.sleep(26 * 3_600)
        assert forgotten
        assert [run.id for run in plane.runs()] == [run_id]


async def test_a_used_key_is_known_for_a_day(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, _):
        clock = plane.clock

        def remember(tx: Tx) -> None:
            catalog.remember(tx.conn, "ann", "k", b"d", run_id=7, now_ms=clock.steady_ms())

        await plane.writer.write(remember)
        plane.stepped_ms += 30 * DAY_MS
        await trio.sleep(3_600)
        known = catalog.recall(plane.conn, "ann", "k", b"d", now_ms=clock.steady_ms())
        assert known == 7


async def test_a_job_of_a_clock_that_was_ahead_does_not_wait_for_all_that_come(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path, stepped_ms=30 * DAY_MS) as (plane, nursery):
        plane.client("ann")
        await start(plane, nursery)
        await plane.submit(pipeline("p"))
        await trio.sleep(60)
        plane.stepped_ms -= 30 * DAY_MS
        await trio.sleep(60)
        await plane.submit(pipeline("p"), count=3)
        await trio.sleep(60)
        peer = await connect(plane)
        lease = await assigned(peer)
        assert lease.job_id == 1
