"""Owns noticing that the wall clock was set: it is logged, stored, shown, and acted on.

Linux has no wake-up for it that Python reaches (`TFD_TIMER_CANCEL_ON_SET` needs Python 3.13), so
the two clocks are compared once a second.
"""

from collections.abc import Sequence
from functools import partial

import structlog
import trio

from control.model import limits
from control.model.api.views import CheckView
from control.model.clock import Clock
from control.model.names import Change
from control.model.times import to_rfc3339
from store import settings
from store.database.writer import Tx, Writer
from store.settings import ClockRecord, ClockStep

LOG = structlog.get_logger("clock")


class ClockWatch:
    """Compares the clocks. `record`: what was noticed before, in earlier processes too."""

    def __init__(self, clock: Clock, writer: Writer, record: ClockRecord) -> None:
        self._clock = clock
        self._writer = writer
        self._record = record

    @property
    def settled(self) -> bool:
        """Whether the wall clock may be trusted with what cannot be undone: deleting what is old.

        Who sets a clock wrongly sets it right again, mostly within a day.
        """
        return not self._recent() and abs(self._unnoticed_ms()) < limits.CLOCK_STEP_MIN_MS

    def warnings(self) -> list[str]:
        """The steps of the last day, in words."""
        return [
            f"the wall clock was set by {step.by_ms / 1000:+.1f} s, to {to_rfc3339(step.wall_ms)}"
            for step in self._recent()
        ]

    def examine(self) -> CheckView:
        """What an operator should know of the wall clock."""
        steps = self.warnings()
        detail = "; ".join(steps) if steps else "nobody has set it in the last 24 h"
        return CheckView(check="wall clock", ok=True, detail=detail, warning=bool(steps))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled."""
        task_status.started()
        while True:
            await self.run_once()
            await trio.sleep(limits.CLOCK_WATCH_S)

    async def run_once(self) -> None:
        """Notice a step, if there was one."""
        by_ms = self._unnoticed_ms()
        if abs(by_ms) < limits.CLOCK_STEP_MIN_MS:
            return
        step = ClockStep(
            steady_ms=self._clock.steady_ms(), wall_ms=self._clock.wall_ms(), by_ms=by_ms
        )
        LOG.warning("clock.stepped", seconds=by_ms / 1000, now=to_rfc3339(step.wall_ms))
        self._record = ClockRecord(
            ahead_ms=self._record.ahead_ms + by_ms,
            steps=(*self._record.steps, step)[-limits.CLOCK_STEPS_KEPT :],
        )
        await self._writer.insist(partial(_store, record=self._record))

    def _unnoticed_ms(self) -> int:
        return self._clock.ahead_ms() - self._record.ahead_ms

    def _recent(self) -> Sequence[ClockStep]:
        since_ms = self._clock.steady_ms() - limits.DAY_MS
        return [step for step in self._record.steps if step.steady_ms >= since_ms]


def _store(tx: Tx, *, record: ClockRecord) -> None:
    """Timers go on by this after a restart; planner and publisher look again at what is due."""
    settings.put_clock(tx.conn, record)
    tx.touch(Change.SCHEDULES)
    tx.touch(Change.PLAN)
