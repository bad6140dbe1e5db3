"""Decides that schedules start nothing in the name of who may not, and nothing of another's."""

import random
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from control.model.names import Change
from control.model.pipelines import ScheduleSpec
from control.model.states import Missed, Overlap
from store import catalog, schedules
from store.database.writer import Tx
from tests.services.plane import Plane, opened, pipeline

MINUTE_S = 60


async def switch(plane: Plane, *, enabled: bool, hold: bool = True) -> None:
    """As an admin does it; `hold` False: as it stood in a database of an earlier version."""

    def work(tx: Tx) -> None:
        tx.conn.execute("UPDATE clients SET enabled = ? WHERE client_id = 'ann'", (enabled,))
        if hold and not enabled:
            schedules.hold_all(tx.conn, "ann")
        tx.touch(Change.SCHEDULES)

    await plane.writer.write(work)


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize(
    ("missed", "made_up"), [(Missed.NONE, 0), (Missed.LAST, 1), (Missed.ALL, None)]
)
async def test_a_disabled_client_starts_nothing_and_then_what_missed_says(
    tmp_path: Path, autojump_clock: MockClock, missed: Missed, made_up: int | None, hold: bool
) -> None:
    minutes = random.Random(f"{missed} {hold}").randint(5, 100)
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        spec = ScheduleSpec(cron="* * * * *", missed=missed, overlap=Overlap.ALLOW)
        await plane.put(pipeline("p", schedules=(spec,)))
        await nursery.start(plane.planner.run)
        await nursery.start(plane.publisher.run)
        await trio.sleep(2.5 * MINUTE_S)
        before = len(plane.runs())
        assert before == 2
        await switch(plane, enabled=False, hold=hold)
        await trio.sleep(minutes * MINUTE_S)
        assert len(plane.runs()) == before
        assert schedules.next_due_ms(plane.conn) is None  # Nothing wakes the publisher up.
        await switch(plane, enabled=True)
        await trio.sleep(1)
        assert len(plane.runs()) - before == (minutes if made_up is None else made_up)
        await trio.sleep(2 * MINUTE_S)
        assert len(plane.runs()) - before == (minutes if made_up is None else made_up) + 2


async def test_what_waits_for_an_earlier_run_waits_on_while_its_client_is_disabled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        spec = ScheduleSpec(cron="* * * * *", overlap=Overlap.QUEUE)
        await plane.put(pipeline("p", schedules=(spec,)))
        await nursery.start(plane.planner.run)
        await nursery.start(plane.publisher.run)
        await trio.sleep(3.5 * MINUTE_S)
        (run,) = plane.runs()
        await switch(plane, enabled=False)
        await plane.writer.write(
            lambda tx: plane.ledger.cancel_run(tx, run.id, "by order", now_ms=run.created_ms)
        )
        await trio.sleep(3 * MINUTE_S)
        assert len(plane.runs()) == 1
        await switch(plane, enabled=True)
        await trio.sleep(1)
        assert len(plane.runs()) == 2


async def test_no_schedule_is_taken_for_one_that_was_deleted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Ann's run goes on after her pipeline is gone; bob's new schedule must leave it alone."""
    async with opened(tmp_path) as (plane, nursery):
        plane.client("ann")
        plane.client("bob")
        spec = ScheduleSpec(cron="* * * * *", overlap=Overlap.REPLACE)
        await plane.put(pipeline("anns", schedules=(spec,)), "ann")
        await nursery.start(plane.planner.run)
        await nursery.start(plane.publisher.run)
        await trio.sleep(1.5 * MINUTE_S)
        (anns,) = plane.runs()
        await plane.writer.write(lambda tx: catalog.delete(tx.conn, "anns"))
        await plane.put(pipeline("bobs", schedules=(spec,)), "bob")
        await trio.sleep(1.5 * MINUTE_S)
        bobs = [run for run in plane.runs() if run.client == "bob"]
        assert bobs
        assert plane.run(anns.id).state == "READY"
        assert anns.schedule_id not in {run.schedule_id for run in bobs}
