"""Owns the planner: keeps every schedule's next 48 hours in `scheduled_runs`. Knows no bus."""

from collections.abc import Callable
from functools import partial

import trio

from control.core.planning import plan
from control.core.rights import bar
from control.model import limits
from control.model.names import Change
from store import schedules
from store.writer import Tx, Writer


class Planner:
    """Plans at its start, whenever schedules change, and every minute."""

    def __init__(self, writer: Writer, now_ms: Callable[[], int]) -> None:
        self._writer = writer
        self._now_ms = now_ms

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once everything is planned for the first time."""
        changed = self._writer.changed(Change.SCHEDULES)
        await self.run_once()
        task_status.started()
        while True:
            with trio.move_on_after(limits.PLAN_EVERY_S):
                await changed.wait()
            changed = self._writer.changed(Change.SCHEDULES)
            await self.run_once()

    async def run_once(self) -> None:
        """Bring every schedule's plan up to 48 hours from now."""
        after = 0
        while True:
            page = await self._writer.insist(partial(_page, after=after))
            for schedule in page:
                more = True
                while more:
                    more = await self._writer.insist(
                        partial(self._portion, schedule_id=schedule.id, now_ms=self._now_ms())
                    )
            if len(page) < limits.PAGE_MAX:
                return
            after = page[-1].id

    def _portion(self, tx: Tx, *, schedule_id: int, now_ms: int) -> bool:
        """Plan some more of one schedule, inside the transaction. True: there is more to plan."""
        found = schedules.listing(tx.conn, after=schedule_id - 1, limit=1)
        if not found or found[0].id != schedule_id or found[0].paused:
            return False
        schedule = found[0]
        if bar(schedule.owner) is not None:  # What is missed meanwhile is up to `missed`.
            return False
        planned = plan(
            schedule.id, schedule.spec, planned_until_ms=schedule.planned_until_ms, now_ms=now_ms
        )
        moved_ms = planned.planned_until_ms - schedule.planned_until_ms
        if not planned.rows and moved_ms < limits.PLAN_STEP_MS:
            return False
        before_ms = schedules.next_due_ms(tx.conn)
        schedules.plan(tx.conn, schedule.id, ((r.nominal_ms, r.due_ms) for r in planned.rows))
        schedules.planned_until(tx.conn, schedule.id, planned.planned_until_ms)
        if before_ms != schedules.next_due_ms(tx.conn):
            tx.touch(Change.PLAN)
        return bool(planned.rows)


def _page(tx: Tx, *, after: int) -> list[schedules.Schedule]:
    return schedules.listing(tx.conn, after=after, limit=limits.PAGE_MAX)
