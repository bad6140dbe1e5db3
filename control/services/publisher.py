"""Owns the publisher: due `scheduled_runs` become runs, in one transaction with their removal."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import structlog
import trio

from control.core.planning import Decision, PlannedRun, Replace, Skip, Wait, decide_due
from control.core.rights import bar
from control.model import limits
from control.model.errors import QueueFull
from control.model.names import Change
from control.model.rows import NewRun
from control.model.states import Trigger
from control.model.times import to_rfc3339
from control.transactions.ledger import Ledger
from store import clients, schedules
from store.schedules import Schedule
from store.writer import Tx, Writer

LOG = structlog.get_logger("publisher")


class Publisher:
    """Starts what is due."""

    def __init__(self, writer: Writer, ledger: Ledger, now_ms: Callable[[], int]) -> None:
        self._writer = writer
        self._ledger = ledger
        self._now_ms = now_ms

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        while True:
            planned = self._writer.changed(Change.PLAN)
            ended = self._writer.changed(Change.SCHEDULES)
            now_ms = self._now_ms()
            try:
                more = await self.run_once(now_ms)
            except QueueFull as full:
                LOG.warning("schedule.delayed", reason=str(full))
                await trio.sleep(full.retry_after_s)
                continue
            if more:
                continue
            next_ms = await self._writer.insist(lambda tx: schedules.next_due_ms(tx.conn))
            wait_s = math.inf if next_ms is None else max(next_ms - self._now_ms(), 0) / 1000
            # A machine that was suspended has slept less than has passed.
            with trio.move_on_after(min(wait_s, limits.CLOCK_LOOK_S)):
                await _either(planned, ended)

    async def run_once(self, now_ms: int) -> bool:
        """Start what is due now. True: there is more. Raises `QueueFull` when nothing fits."""
        work = partial(self._start_due, now_ms=now_ms)
        return await self._writer.insist(work)

    def _start_due(self, tx: Tx, *, now_ms: int) -> bool:
        carried_out = 0
        full: QueueFull | None = None
        for schedule_id in schedules.due_schedules(tx.conn, now_ms):
            schedule = schedules.get(tx.conn, schedule_id)
            if (problem := bar(schedule.owner)) is not None:
                if schedules.hold(tx.conn, schedule_id):
                    LOG.info("schedule.held", schedule=schedule_id, reason=problem)
                continue
            rows = [
                PlannedRun(nominal_ms=nominal_ms, due_ms=due_ms, waiting=on_purpose)
                for nominal_ms, due_ms, on_purpose in schedules.due(tx.conn, schedule_id, now_ms)
            ]
            active = schedules.active_runs(tx.conn, schedule_id)
            decisions = decide_due(
                schedule.spec,
                rows,
                now_ms=now_ms,
                late_after_ms=limits.MISSED_AFTER_MS,
                active=len(active),
            )
            gone, refused = self._carry_out(tx, schedule, decisions, active, now_ms)
            carried_out, full = carried_out + gone, refused or full
            if carried_out >= limits.PUBLISH_PORTION_MAX:
                return True
        if full is not None and not carried_out:
            raise full
        return full is not None

    def _carry_out(
        self,
        tx: Tx,
        schedule: Schedule,
        decisions: Sequence[Decision],
        active: Sequence[int],
        now_ms: int,
    ) -> tuple[int, QueueFull | None]:
        """Act on a portion of the decisions; gives how many rows are gone, and what stopped it.

        What fits into the queue is started, or a backlog larger than the queue would never be.
        """
        gone = 0
        # Those who wait come last: they must not use up the portion, time after time.
        ordered = sorted(decisions, key=lambda decision: isinstance(decision, Wait))
        for decision in ordered[: limits.PUBLISH_PORTION_MAX]:
            if isinstance(decision, Wait):
                schedules.told_to_wait(tx.conn, schedule.id, decision.nominal_ms)
                continue
            if isinstance(decision, Skip):
                LOG.info("schedule.skipped", schedule=schedule.id, reason=decision.reason)
            else:
                if isinstance(decision, Replace):
                    for run_id in active:
                        reason = f"replaced by the run of {to_rfc3339(decision.nominal_ms)}"
                        self._ledger.cancel_run(tx, run_id, reason, now_ms=now_ms)
                try:
                    self._submit(tx, schedule, decision.nominal_ms, now_ms)
                except QueueFull as error:
                    return gone, error
            schedules.remove(tx.conn, schedule.id, decision.nominal_ms)
            gone += 1
        return gone, None

    def _submit(self, tx: Tx, schedule: Schedule, nominal_ms: int, now_ms: int) -> None:
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
            scheduled_for_ms=nominal_ms,
        )
        self._ledger.submit(tx, [new])


async def _either(*events: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(_then_cancel, event, nursery.cancel_scope)


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
