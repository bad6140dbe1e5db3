"""Decides what schedules do beside backfills, hands, edits, full queues, and after restarts."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from control.model import limits
from control.model.names import Change
from control.model.pipelines import ScheduleSpec
from control.model.state_rows import NewRun, RunRow
from control.model.states import Missed, Outcome, Overlap, State, Trigger
from store import schedules
from store.database.writer import Tx
from tests.services.hands import Hands
from tests.services.plane import EPOCH_MS, Plane, now_ms, opened, pipeline

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
LINED_UP = pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.REPLACE])


async def started(plane: Plane, nursery: trio.Nursery) -> None:
    await nursery.start(plane.planner.run)
    await nursery.start(plane.publisher.run)


async def end(plane: Plane, run_id: int) -> None:
    def work(tx: Tx) -> None:
        plane.ledger.cancel_run(tx, run_id, "by order", now_ms=now_ms())

    await plane.writer.write(work)


async def backfill(plane: Plane, *nominals_ms: int) -> None:
    def work(tx: Tx) -> None:
        rows = [(nominal_ms, now_ms()) for nominal_ms in nominals_ms]
        schedules.plan(tx.conn, 1, rows, backfill=True)
        tx.touch(Change.PLAN)

    await plane.writer.write(work)


async def start_by_hand(plane: Plane, revision_id: int) -> int:
    def work(tx: Tx) -> int:
        new = NewRun(
            revision_id=revision_id,
            client="ann",
            client_priority=10,
            max_running=None,
            trigger=Trigger.MANUAL,
            created_ms=now_ms(),
            schedule_id=1,
        )
        return plane.ledger.submit(tx, [new])[0].id

    return await plane.writer.write(work)


async def pause(plane: Plane, *, paused: bool = True) -> int:
    def work(tx: Tx) -> int:
        tx.touch(Change.SCHEDULES)
        return schedules.set_paused(tx.conn, 1, paused=paused, now_ms=now_ms())[1]

    return await plane.writer.write(work)


def open_runs(plane: Plane) -> list[RunRow]:
    return [run for run in plane.runs() if run.state == State.READY]


def nominal_of(plane: Plane, run_id: int) -> int:
    sql = "SELECT scheduled_for_ms FROM runs WHERE id = ?"
    return int(plane.conn.execute(sql, (run_id,)).fetchone()[0])


@LINED_UP
async def test_a_backfill_runs_all_its_days_one_after_the_other(
    tmp_path: Path, autojump_clock: MockClock, overlap: Overlap
) -> None:
    days = [EPOCH_MS - n * DAY_MS for n in (5, 4, 3, 2, 1)]
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await plane.put(pipeline("p", schedules=(ScheduleSpec(cron="@daily", overlap=overlap),)))
        await started(plane, nursery)
        await backfill(plane, *days)
        found = []
        for _ in days:
            await trio.sleep(1)
            (run,) = open_runs(plane)
            found.append(nominal_of(plane, run.id))
            await end(plane, run.id)
        await trio.sleep(1)
        assert found == days
        assert not open_runs(plane)


@LINED_UP
async def test_a_backfill_takes_nothing_from_what_is_planned(
    tmp_path: Path, autojump_clock: MockClock, overlap: Overlap
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        spec = ScheduleSpec(cron="* * * * *", overlap=overlap)
        await plane.put(pipeline("p", schedules=(spec,)))
        await started(plane, nursery)
        await trio.sleep(65)
        (planned,) = open_runs(plane)
        await backfill(plane, EPOCH_MS - 2 * DAY_MS, EPOCH_MS - DAY_MS)
        await trio.sleep(1)
        assert plane.run(planned.id).state == State.READY  # Whatever a month ago asks for.
        await end(plane, planned.id)
        await trio.sleep(1)
        (old,) = open_runs(plane)
        assert nominal_of(plane, old.id) == EPOCH_MS - 2 * DAY_MS
        await trio.sleep(60)  # The next minute has come.
        assert plane.run(old.id).state == State.READY
        await end(plane, old.id)
        await trio.sleep(1)
        nominals = [nominal_of(plane, run.id) for run in plane.runs()]
        assert EPOCH_MS + 2 * MINUTE_MS in nominals


@pytest.mark.parametrize("overlap", list(Overlap))
async def test_what_a_person_started_stays(
    tmp_path: Path, autojump_clock: MockClock, overlap: Overlap
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        spec = ScheduleSpec(cron="* * * * *", overlap=overlap)
        revision_id = await plane.put(pipeline("p", schedules=(spec,)))
        await started(plane, nursery)
        run_id = await start_by_hand(plane, revision_id)
        await trio.sleep(3 * 60 + 1)
        assert plane.run(run_id).state == State.READY
        beside = 3 if overlap is Overlap.ALLOW else overlap is Overlap.REPLACE
        assert len(open_runs(plane)) == 1 + beside


@pytest.mark.parametrize("how", ["disabled", "paused", "gone"])
async def test_what_waits_does_not_start_once_its_schedule_starts_nothing(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    spec = ScheduleSpec(cron="* * * * *", overlap=Overlap.QUEUE)
    off = ScheduleSpec(cron="* * * * *", overlap=Overlap.QUEUE, enabled=False)
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await plane.put(pipeline("p", schedules=(spec,)))
        await started(plane, nursery)
        await trio.sleep(4 * 60 + 1)
        (run,) = plane.runs()
        if how == "paused":
            assert await pause(plane) == 3  # It is said how many.
        else:
            await plane.put(pipeline("p", schedules=(off,) if how == "disabled" else ()))
            assert plane.dropped == 3
        await end(plane, run.id)
        await trio.sleep(5 * 60)
        assert len(plane.runs()) == 1
        if how == "paused":
            await pause(plane, paused=False)
        else:
            await plane.put(pipeline("p", schedules=(spec,)))
        await trio.sleep(60)
        assert len(plane.runs()) == 2


@pytest.mark.parametrize("how", ["disabled", "paused"])
async def test_a_backfill_of_a_schedule_that_starts_nothing_by_itself_runs(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    spec = ScheduleSpec(cron="* * * * *", enabled=how != "disabled")
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await plane.put(pipeline("p", schedules=(spec,)))
        await started(plane, nursery)
        if how == "paused":
            await pause(plane)
        await backfill(plane, EPOCH_MS - DAY_MS)
        await trio.sleep(5 * 60)
        assert [nominal_of(plane, run.id) for run in plane.runs()] == [EPOCH_MS - DAY_MS]


@pytest.mark.parametrize(
    "edit",
    [
        ScheduleSpec(cron="* * * * *", timezone="Europe/Paris"),
        ScheduleSpec(cron="*/2 * * * *"),
        ScheduleSpec(cron="*/2 * * * *", timezone="Asia/Tokyo", missed=Missed.ALL),
    ],
)
async def test_a_pause_survives_an_edit(
    tmp_path: Path, autojump_clock: MockClock, edit: ScheduleSpec
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await plane.put(pipeline("p", schedules=(ScheduleSpec(cron="* * * * *"),)))
        await started(plane, nursery)
        await trio.sleep(61)
        await pause(plane)
        await plane.put(pipeline("p", schedules=(edit,)))
        await trio.sleep(10 * 60)
        assert len(plane.runs()) == 1
        (schedule,) = schedules.listing(plane.conn, after=0, limit=9)
        assert (schedule.id, schedule.paused, schedule.spec) == (1, True, edit)
        await pause(plane, paused=False)
        await trio.sleep(2 * 60)
        assert len(plane.runs()) > 1


async def test_a_client_over_its_limit_delays_only_its_own_schedules(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    often = ScheduleSpec(cron="* * * * * *", missed=Missed.ALL)
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann", max_queued=1)
        plane.client("bob")
        await plane.put(pipeline("anns", schedules=(often,)), "ann")
        await plane.put(pipeline("bobs", schedules=(often,)), "bob")
        await started(plane, nursery)
        await trio.sleep(60.5)
        late = [
            run.created_ms - nominal_of(plane, run.id)
            for run in plane.runs()
            if run.client == "bob"
        ]
        assert len(late) == 60
        assert max(late) < 100
        (anns,) = [run for run in plane.runs() if run.client == "ann"]
        await end(plane, anns.id)
        await trio.sleep(limits.RETRY_AFTER_S + 0.5)
        assert len([run for run in plane.runs() if run.client == "ann"]) == 2


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.REPLACE])
@pytest.mark.parametrize("ends", [True, False])
async def test_after_a_restart_a_result_that_is_on_its_way_counts_first(
    tmp_path: Path, autojump_clock: MockClock, overlap: Overlap, *, ends: bool
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        spec = ScheduleSpec(cron="*/10 * * * *", overlap=overlap)
        await plane.put(pipeline("p", schedules=(spec,)))
        await started(plane, nursery)
        hands = await Hands.join(plane)
        await trio.sleep(10 * 60 + 1)
        ready = await hands.take()
    await trio.sleep(10 * 60 - 2)  # The next time comes while nobody is there.
    async with opened(tmp_path) as (plane, nursery):
        await nursery.start(plane.trigger.run)
        await started(plane, nursery)
        await trio.sleep(limits.RESTART_GRACE_S)
        assert len(plane.runs()) == 1
        if ends:
            hands = await Hands.join(plane)
            await hands.end(ready, Outcome.DONE)
        await trio.sleep(2)
        first, *later = plane.runs()
        if ends:
            assert first.state == State.DONE
            assert len(later) == 1
        else:
            assert first.state == (State.READY if overlap is Overlap.SKIP else State.CANCELLED)
            assert len(later) == (overlap is Overlap.REPLACE)


async def test_a_long_outage_of_a_schedule_of_seconds_is_one_statement_and_one_line(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    often = ScheduleSpec(cron="* * * * * *", missed=Missed.LAST)
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await plane.put(pipeline("often", schedules=(often,)))
        await plane.put(pipeline("other", schedules=(ScheduleSpec(cron="* * * * *"),)))
        await nursery.start(plane.planner.run)
        await trio.sleep(1)
        planned = plane.conn.execute("SELECT count(*) FROM scheduled_runs").fetchone()[0]
        assert planned <= limits.PLANNED_ROWS_MAX + 48 * 60
    await trio.sleep(3 * 24 * 3_600)
    async with opened(tmp_path) as (plane, nursery):
        commits = 0

        def count() -> None:
            nonlocal commits
            commits += 1

        plane.committed = count
        with capture_logs() as logs:
            await started(plane, nursery)
            await trio.sleep(0.5)
        lines = [line for line in logs if line["event"] == "schedule.skipped"]
        assert sorted(line["pipeline"] for line in lines) == ["often", "other"]
        assert max(line["count"] for line in lines) == limits.PLANNED_ROWS_MAX
        assert sorted(run.pipeline for run in plane.runs()) == ["often", "other"]
        assert commits < 40


async def test_the_next_minutes_of_all_schedules_are_planned_first(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        await nursery.start(plane.planner.run)
        for name in ("a", "b", "c"):
            spec = ScheduleSpec(cron="* * * * * *")
            await plane.put(pipeline(name, schedules=(spec,)))
        found: list[tuple[int, int, int]] = []

        def look() -> None:
            sql = "SELECT count(*) FROM scheduled_runs WHERE schedule_id = ?"
            rows = [plane.conn.execute(sql, (at,)).fetchone()[0] for at in (1, 2, 3)]
            found.append((rows[0], rows[1], rows[2]))

        plane.committed = look
        await trio.sleep(1)
        near = limits.PLAN_NEAR_MS // 1_000
        first_all = next(at for at, rows in enumerate(found) if min(rows) >= near)
        assert max(found[first_all]) <= near + limits.PLAN_ROWS_MAX
        assert min(found[-1]) > limits.PLANNED_ROWS_MAX - 5


async def test_a_minute_costs_what_comes_due(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        daily = tuple(ScheduleSpec(cron=f"{n} 3 * * *") for n in range(50))
        await plane.put(pipeline("daily", schedules=daily))
        await plane.put(pipeline("often", schedules=(ScheduleSpec(cron="* * * * *"),)))
        await nursery.start(plane.planner.run)
        await trio.sleep(1)
        before = plane.conn.total_changes
        await trio.sleep(10 * 60)
        assert plane.conn.total_changes - before <= 10 * 4  # A row and a plan's end, a minute.


async def test_the_planner_is_there_before_it_has_planned(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        for name in range(20):
            specs = tuple(ScheduleSpec(cron=f"*/{n} * * * *") for n in range(1, 11))
            await plane.put(pipeline(f"p{name}", schedules=specs))
        await nursery.start(plane.planner.run)
        sql = "SELECT count(*) FROM scheduled_runs"
        assert plane.conn.execute(sql).fetchone()[0] == 0
        near: list[int] = []

        def look() -> None:
            limit_ms = now_ms() + limits.PLAN_NEAR_MS
            sql = "SELECT count(*) FROM schedules WHERE planned_until_ms < ?"
            near.append(plane.conn.execute(sql, (limit_ms,)).fetchone()[0])

        plane.committed = look
        await trio.sleep(1)
        assert near[4] == 0  # Of all 200 the next minutes; of most the rest was still to come.
        assert len(near) > 20


async def test_the_next_minutes_stay_planned_while_planning_takes_long(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        specs = tuple(ScheduleSpec(cron=f"*/{n} * * * *") for n in range(1, 31))
        await plane.put(pipeline("p", schedules=specs))
        # A disk as slow as that: 48 h of all take half an hour.
        plane.pause_s = 20.0
        least: list[int] = []

        def look() -> None:
            sql = "SELECT min(planned_until_ms) FROM schedules"
            least.append(plane.conn.execute(sql).fetchone()[0] - now_ms())

        plane.committed = look
        await nursery.start(plane.planner.run)
        await trio.sleep(40 * 60)
        assert min(least[4:]) > 0
        assert least[-1] >= limits.PLAN_AHEAD_MS - 2 * MINUTE_MS
