"""Owns the publisher: due `scheduled_runs` become runs, in one transaction with their removal."""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import structlog
import trio

from control.core.pipelines.ownership import bar
from control.core.schedules.plan import (
    Decision,
    Replace,
    Skip,
    Start,
    Wait,
    decide_due,
    depends_on_active,
    idle_reason,
)
from control.model import limits
from control.model.clock import Clock
from control.model.errors import QueueFull
from control.model.names import Change
from control.model.state_rows import Active, NewRun, PlannedRun
from control.model.states import Missed, Overlap, Trigger
from control.model.times import to_rfc3339
from control.transactions.run_transactions import Ledger
from store import clients, runs, schedules, settings
from store.database.writer import Tx, Writer
from store.schedules import Schedule

LOG = structlog.get_logger("publisher")


class Publisher:
    """Starts what is due."""

    def __init__(self, writer: Writer, ledger: Ledger, clock: Clock) -> None:
        self._writer = writer
        self._ledger = ledger
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        clock = self._clock
        # Since when nothing has kept us from starting what is due, by the wall clock.
        self._since_ms, self._ahead_ms = clock.wall_ms(), clock.ahead_ms()
        self._expected_ms = clock.steady_ms()  # When we should look next.
        # Until then results of runs from before our start may be on their way.
        self.settled_ms = clock.steady_ms() + limits.OVERLAP_SETTLE_MS
        # When to try again the schedules whose client is over a limit. Other schedules do not wait.
        self._retry_ms: dict[int, int] = {}
        self._delayed: set[int] = set()  # Logged as such, until they start something again.
        self._last = 0  # The schedule that was served last: the others have their turn.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        self._begin()
        task_status.started()
        ended: trio.Event | None = None
        waiting = True
        while True:
            planned = self._writer.changed(Change.PLAN)
            if ended is None or ended.is_set():
                ended, waiting = self._writer.changed(Change.SCHEDULES), True
            now_ms = self._clock.wall_ms()
            if await self.run_once(now_ms, waiting=waiting):
                continue
            # What waits for a run, and then for room in the queue, has no event of its own.
            waiting = self._clock.steady_ms() < self.settled_ms or bool(self._retry_ms)
            wait_ms = await self._wait_ms(now_ms)
            self._expected_ms = self._clock.steady_ms() + math.ceil(wait_ms)
            with trio.move_on_after(wait_ms / 1000):
                await _either(planned, ended)

    async def run_once(self, now_ms: int, *, waiting: bool = True) -> bool:
        """Start what is due now. True: there is more.

        `waiting`: also what waits for an earlier run to end.
        """
        self._notice_outage()
        work = partial(self._start_due, now_ms=now_ms, waiting=waiting)
        return await self._writer.insist(work)

    async def _wait_ms(self, now_ms: int) -> float:
        """For how long nothing is to be done by itself. Everything due until `now_ms` is done."""
        next_ms = await self._writer.insist(lambda tx: schedules.next_due_ms(tx.conn, now_ms))
        steady_ms = self._clock.steady_ms()
        # A machine that was suspended has slept less than has passed.
        waits = [limits.CLOCK_LOOK_S * 1000]
        if next_ms is not None:
            waits.append(next_ms - self._clock.wall_ms())
        if steady_ms < self.settled_ms:
            waits.append(self.settled_ms - steady_ms)
        waits += [at_ms - steady_ms for at_ms in self._retry_ms.values()]
        return max(min(waits), 0)

    def _notice_outage(self) -> None:
        """What was due during an outage, or in a time that the wall clock skipped."""
        late_ms = self._clock.steady_ms() - self._expected_ms
        ahead_ms = self._clock.ahead_ms()
        stepped_ms = abs(ahead_ms - self._ahead_ms)
        if late_ms > limits.OUTAGE_MIN_MS or stepped_ms >= limits.CLOCK_STEP_MIN_MS:
            self._since_ms, self._ahead_ms = self._clock.wall_ms(), ahead_ms
        self._expected_ms = self._clock.steady_ms()

    def _start_due(self, tx: Tx, *, now_ms: int, waiting: bool) -> bool:
        steady_ms = self._clock.steady_ms()
        found = schedules.due_schedules(tx.conn, now_ms, waiting=waiting)
        self._retry_ms = {at: ms for at, ms in self._retry_ms.items() if ms > steady_ms}
        turns = sorted(found, key=lambda schedule_id: (schedule_id <= self._last, schedule_id))
        started, more, gone = 0, False, False
        for schedule_id in turns:
            if schedule_id in self._retry_ms:
                continue
            schedule = schedules.get(tx.conn, schedule_id)
            if (problem := bar(schedule.owner)) is not None:
                if schedules.hold(tx.conn, schedule_id):
                    LOG.info("schedule.held", schedule=schedule_id, reason=problem)
                continue
            count, rest = self._serve(tx, schedule, now_ms)
            started, more, gone = started + count, more or rest, True
            self._last = schedule_id
            if started >= limits.PUBLISH_PORTION_MAX:
                more = True
                break
        if gone:
            settings.raise_seen(tx.conn, now_ms)
        return more

    def _serve(self, tx: Tx, schedule: Schedule, now_ms: int) -> tuple[int, bool]:
        """Carry out what is decided of a schedule; how many runs started, and if there is more."""
        spec = schedule.spec
        if (
            spec.missed is Missed.LAST
            and schedule.planned_until_ms < now_ms
            and not schedule.paused
        ):
            return 0, False  # The last one is not planned yet: the planner says when it is.
        idle = idle_reason(spec, paused=schedule.paused, bar=None)
        all_alike = idle is None and (spec.missed, spec.overlap) == (Missed.ALL, Overlap.ALLOW)
        limit = limits.PUBLISH_EACH_MAX + 1 if all_alike else -1  # Each one starts.
        rows = schedules.due(tx.conn, schedule.id, now_ms, limit)
        if idle is not None:
            rows = self._drop(tx, schedule, rows, idle)
        active = schedules.active_runs(tx.conn, schedule.id)
        if self._clock.steady_ms() < self.settled_ms and depends_on_active(spec, active):
            return 0, False
        decisions = decide_due(spec, rows, now_ms=now_ms, since_ms=self._since_ms, active=active)
        return self._carry_out(tx, schedule, decisions, active, rows)

    def _drop(
        self, tx: Tx, schedule: Schedule, rows: Sequence[PlannedRun], reason: str
    ) -> list[PlannedRun]:
        """A schedule that starts nothing by itself: only what was asked for is left."""
        own = [row.nominal_ms for row in rows if not row.backfill]
        if own:
            self._skip(tx, schedule, [Skip(nominal_ms=at_ms, reason=reason) for at_ms in own])
        return [row for row in rows if row.backfill]

    def _carry_out(
        self,
        tx: Tx,
        schedule: Schedule,
        decisions: Sequence[Decision],
        active: Active,
        rows: Sequence[PlannedRun],
    ) -> tuple[int, bool]:
        """Act on the decisions; gives how many runs started, and whether more are to start now.

        What fits into the queue is started, or a backlog larger than the queue would never be.
        """
        by_nominal = {row.nominal_ms: row for row in rows}
        self._skip(tx, schedule, [each for each in decisions if isinstance(each, Skip)])
        waits = [each.nominal_ms for each in decisions if isinstance(each, Wait)]
        if fresh := [at_ms for at_ms in waits if not by_nominal[at_ms].waiting]:
            schedules.let_wait(tx.conn, schedule.id, fresh)
        starts = [each for each in decisions if isinstance(each, Start | Replace)]
        started: list[int] = []
        for decision in starts[: limits.PUBLISH_EACH_MAX]:
            row = by_nominal[decision.nominal_ms]
            try:
                self._start(tx, schedule, row, active if isinstance(decision, Replace) else None)
            except QueueFull as full:
                self._delay(schedule, full)
                break
            started.append(row.nominal_ms)
        if started:
            self._delayed.discard(schedule.id)
            schedules.remove(tx.conn, schedule.id, started)
        more = len(started) < len(starts) and schedule.id not in self._retry_ms
        return len(started), more

    def _start(self, tx: Tx, schedule: Schedule, row: PlannedRun, replaced: Active | None) -> None:
        now_ms = self._clock.wall_ms()
        for run_id in replaced.planned if replaced else ():
            if runs.is_ending(tx.conn, run_id):
                continue  # It was replaced before; what it still does is clean up.
            reason = f"replaced by the run of {to_rfc3339(row.nominal_ms)}"
            self._ledger.cancel_run(tx, run_id, reason, now_ms=now_ms)
        priority, max_running = clients.limits_of(tx.conn, schedule.client)
        new = NewRun(
            revision_id=schedule.revision_id,
            client=schedule.client,
            client_priority=priority,
            max_running=max_running,
            trigger=Trigger.SCHEDULE,
            created_ms=now_ms,
            input=schedule.spec.input,
            schedule_id=schedule.id,
            scheduled_for_ms=row.nominal_ms,
        )
        (run,) = self._ledger.submit(tx, [new])
        if row.backfill:
            schedules.note_backfill(tx.conn, run.id)

    def _delay(self, schedule: Schedule, full: QueueFull) -> None:
        """Its client is over a limit: it alone waits a while."""
        self._retry_ms[schedule.id] = self._clock.steady_ms() + round(full.retry_after_s * 1000)
        if schedule.id not in self._delayed:
            self._delayed.add(schedule.id)
            LOG.warning("schedule.delayed", schedule=schedule.id, reason=str(full))

    def _skip(self, tx: Tx, schedule: Schedule, skips: Sequence[Skip]) -> None:
        """Let rows go without a run, and say so: a line for each reason."""
        if not skips:
            return
        schedules.remove(tx.conn, schedule.id, [each.nominal_ms for each in skips])
        by_reason: defaultdict[str, list[int]] = defaultdict(list)
        for each in skips:
            by_reason[each.reason].append(each.nominal_ms)
        for reason, nominals in by_reason.items():
            LOG.info(
                "schedule.skipped",
                schedule=schedule.id,
                pipeline=schedule.pipeline,
                count=len(nominals),
                first=to_rfc3339(min(nominals)),
                last=to_rfc3339(max(nominals)),
                reason=reason,
            )


async def _either(*events: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(_then_cancel, event, nursery.cancel_scope)


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
