"""Owns the planner: keeps every schedule's next 48 hours in `scheduled_runs`. Knows no bus."""

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
import trio

from control.core.pipelines.ownership import bar
from control.core.schedules.plan import plan
from control.model import limits
from control.model.names import Change
from store import schedules, settings
from store.database.writer import Tx, Writer
from store.schedules import Schedule

LOG = structlog.get_logger("planner")

_BEGIN: Final = (-1, -1)  # Before all schedules, in the order in which their plans end.


class Planner:
    """Plans at its start, whenever schedules change, and every minute.

    The next minutes of all schedules come first, then the rest of the 48 hours. A schedule whose
    plan reaches that far costs nothing.
    """

    def __init__(self, writer: Writer, now_ms: Callable[[], int]) -> None:
        self._writer = writer
        self._now_ms = now_ms

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        while True:
            changed = self._writer.changed(Change.SCHEDULES)
            if await self.run_once(changed):
                with trio.move_on_after(limits.PLAN_EVERY_S):
                    await changed.wait()

    async def run_once(self, changed: trio.Event | None = None) -> bool:
        """Bring every schedule's plan up to 48 hours from now. False: not all of them.

        The next minutes of all come first again once `changed` is set, or a minute has passed.
        """
        begin = trio.current_time()
        now_ms = self._now_ms()
        await self._writer.insist(partial(self._plan_again, now_ms=now_ms))
        for ahead_ms in (limits.PLAN_NEAR_MS, limits.PLAN_AHEAD_MS):
            after: tuple[int, int] | None = _BEGIN
            while after is not None:
                # Always the same time, or a plan of seconds would never be long enough.
                work = partial(self._portion, after=after, ahead_ms=ahead_ms, now_ms=now_ms)
                after = await self._writer.insist(work)
                late = trio.current_time() - begin >= limits.PLAN_EVERY_S
                late = late or (changed is not None and changed.is_set())
                if late and ahead_ms > limits.PLAN_NEAR_MS:
                    return False
        return True

    def _portion(
        self, tx: Tx, *, after: tuple[int, int], ahead_ms: int, now_ms: int
    ) -> tuple[int, int] | None:
        """Plan some more, inside the transaction; gives where to go on, None: it is all done."""
        page = schedules.to_plan(
            tx.conn, until_ms=now_ms + ahead_ms, after=after, limit=limits.PLAN_SCHEDULES_MAX
        )
        before_ms = schedules.next_due_ms(tx.conn)
        overdue, rows = False, 0
        for schedule in page:
            after = (schedule.planned_until_ms, schedule.id)
            if bar(schedule.owner) is not None:  # What is missed meanwhile is up to `missed`.
                continue
            overdue = overdue or schedule.planned_until_ms < now_ms
            rows += _plan(tx, schedule, ahead_ms=ahead_ms, now_ms=now_ms)
            if rows >= limits.PLAN_ROWS_MAX:
                break
        if overdue or before_ms != schedules.next_due_ms(tx.conn):
            tx.touch(Change.PLAN)
        return after if page else None

    def _plan_again(self, tx: Tx, *, now_ms: int) -> None:
        """Forget what was planned by a clock that was ahead, inside the transaction.

        Times that were seen to by such a clock, or that a schedule was planned after, are still to
        come. Those that have a run do not start again.
        """
        seen_ms = settings.seen_ms(tx.conn)
        beyond_ms = now_ms + limits.PLAN_AHEAD_MS + limits.PLAN_SKIP_MS + limits.PLAN_NEAR_MS
        if seen_ms > now_ms + limits.CLOCK_STEP_MIN_MS:
            settings.put_seen(tx.conn, now_ms)
            beyond_ms = now_ms
        else:
            settings.raise_seen(tx.conn, now_ms)
        again = schedules.plan_again(tx.conn, from_ms=now_ms, beyond_ms=beyond_ms)
        if again:
            LOG.warning(
                "schedule.planned_again", schedules=again, reason="the wall clock was set back"
            )
            tx.touch(Change.PLAN)


def _plan(tx: Tx, schedule: Schedule, *, ahead_ms: int, now_ms: int) -> int:
    """Plan more of one schedule; gives how many rows it took."""
    planned = plan(
        schedule.id,
        schedule.spec,
        planned_until_ms=schedule.planned_until_ms,
        now_ms=now_ms,
        ahead_ms=ahead_ms,
    )
    if planned.rows:
        schedules.plan(tx.conn, schedule.id, ((r.nominal_ms, r.due_ms) for r in planned.rows))
    if planned.planned_until_ms > schedule.planned_until_ms:
        schedules.planned_until(tx.conn, schedule.id, planned.planned_until_ms)
    return len(planned.rows)
