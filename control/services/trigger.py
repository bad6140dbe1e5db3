"""Owns the trigger: what happened to attempts becomes state, and what comes next is released.

One transaction a batch: state, outputs, the next `task_runs`, and the receipts.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog
import trio

from control.bus.base import Bus, Subscription
from control.core.advance import Advance
from control.model import limits
from control.model.errors import BusUnavailable
from control.model.messages import (
    Announce,
    CancelJob,
    Deadline,
    Finished,
    Progressed,
    Started,
    Unstarted,
)
from control.model.names import Group, Service, Topic
from control.model.records import Delivery, Record, receipts_of
from control.model.states import Outcome, State
from control.transactions import split, terms
from control.transactions.ledger import Ledger
from store import runs
from store.writer import Tx, Writer

LOG = structlog.get_logger("trigger")
T = TypeVar("T")
_OF_RUNS = Started | Unstarted | Progressed | Finished
_TOLD: Final = frozenset({Service.BALANCER, Service.DISPATCHER})


class Jitter(Protocol):
    """A random number in [-0.1, 0.1]."""

    def __call__(self) -> float:
        """The next one."""


class Trigger:
    """Moves runs on."""

    def __init__(
        self,
        bus: Bus,
        writer: Writer,
        ledger: Ledger,
        now_ms: Callable[[], int],
        jitter: Jitter,
    ) -> None:
        self._bus = bus
        self._writer = writer
        self._ledger = ledger
        self._now_ms = now_ms
        self._jitter = jitter
        self._armed = trio.Event()
        self.refused = 0  # Results that did not count.
        self._logged = 0  # Of the triggers that started nothing,
        self._log_after_s = -math.inf  # and when to log more of them.

    @property
    def triggers_refused(self) -> int:
        """How many triggers have started nothing: over a bound, or not allowed."""
        return self._ledger.triggers_refused

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        results = await self._bus.subscribe(Topic.TASK_RUN_RESULTS, Group.TRIGGER)
        events = await self._bus.subscribe(Topic.TASK_RUN_EVENTS, Group.TRIGGER)
        commands = await self._bus.tail(Topic.TASK_COMMANDS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, results, Topic.TASK_RUN_RESULTS)
            nursery.start_soon(self._serve, events, Topic.TASK_RUN_EVENTS)
            nursery.start_soon(self._watch_deadlines, commands)
            nursery.start_soon(self._keep_time)
            task_status.started()

    async def _watch_deadlines(self, commands: Subscription) -> None:
        # To who announced itself while nobody was here: clients and split, as they are now.
        await self._writer.insist(_tell_all)
        while True:
            try:
                found = [delivery.message for delivery in await commands.receive()]
            except BusUnavailable:  # Whatever was said meanwhile.
                commands = await self._bus.tail(Topic.TASK_COMMANDS)
                found = [Deadline(run_id=0, at_ms=0), Announce(by=Service.BALANCER)]
            if any(isinstance(message, Deadline) for message in found):
                self._armed.set()
            if any(isinstance(each, Announce) and each.by in _TOLD for each in found):
                await self._writer.insist(_tell_all)

    async def _serve(self, subscription: Subscription, topic: Topic) -> None:
        while True:
            deliveries = await subscription.receive()
            now_ms = self._now_ms()
            jitters = [self._jitter() for _ in deliveries]
            work = partial(
                self._apply, topic=topic, deliveries=deliveries, jitters=jitters, now_ms=now_ms
            )
            if await self._writer.insist(work):
                self._armed.set()
            self._log_refusals()

    def _log_refusals(self) -> None:
        """Say now and then that triggers start nothing: of a circle there may be thousands."""
        count = self._ledger.triggers_refused - self._logged
        if count and trio.current_time() >= self._log_after_s:
            self._logged += count
            self._log_after_s = trio.current_time() + limits.TRIGGERS_LOGGED_EVERY_S
            LOG.warning("trigger.refused", count=count, last=self._ledger.last_refusal)

    def _apply(
        self,
        tx: Tx,
        *,
        topic: Topic,
        deliveries: Sequence[Delivery],
        jitters: Sequence[float],
        now_ms: int,
    ) -> bool:
        """One batch, inside the transaction. True: there are retries to wake up for."""
        wanted = {
            delivery.message.run_id
            for delivery in deliveries
            if isinstance(delivery.message, _OF_RUNS)
        }
        steps = self._ledger.load(tx, wanted, now_ms=now_ms)
        outputs: list[tuple[int, str]] = []
        for delivery, jitter in zip(deliveries, jitters, strict=True):
            message = delivery.message
            if not isinstance(message, _OF_RUNS):
                continue
            step = steps.get(message.run_id)
            if step is None:
                continue  # The run was deleted.
            if isinstance(message, Finished):
                self._finished(step, message, jitter, outputs)
            elif isinstance(message, Started):
                self._started(tx, step, message)
            elif isinstance(message, Unstarted):
                step.unstarted(message)
            else:
                step.progressed(message.job_id, message.attempt, message.progress)
        if outputs:
            runs.insert_outputs(tx.conn, outputs)
        changed = [step for step in steps.values() if step.changed]
        self._ledger.save(tx, changed)
        tx.ack(receipts_of(Group.TRIGGER, topic, [delivery.place for delivery in deliveries]))
        return any(job.delayed for step in changed for job in step.released)

    def _finished(
        self, step: Advance, message: Finished, jitter: float, outputs: list[tuple[int, str]]
    ) -> None:
        if not step.finished(message, jitter=jitter):
            self.refused += 1
            return
        text = bytes(message.output)
        if message.outcome == Outcome.DONE and text != b"null":
            outputs.append((message.job_id, text.decode()))

    def _started(self, tx: Tx, step: Advance, message: Started) -> None:
        if step.started(message):
            return
        job = step.run.jobs[message.job_id - step.run.jobs[0].id]
        if job.state == State.CANCELLED or message.attempt < job.attempt:
            # It was cancelled while it was on its way, or while no dispatcher held its lease.
            cancelled = job.attempt == message.attempt
            reason = job.reason if cancelled else "another attempt has taken its place"
            stop = CancelJob(job_id=job.id, attempt=message.attempt, reason=reason)
            tx.publish([Record(Topic.TASK_COMMANDS, stop, step.run.id)])

    async def _keep_time(self) -> None:
        while True:
            self._armed = trio.Event()
            next_ms = await self._writer.insist(lambda tx: runs.next_timer_ms(tx.conn))
            wait_s = math.inf if next_ms is None else max(next_ms - self._now_ms(), 0) / 1000
            # A machine that was suspended has slept less than has passed.
            with trio.move_on_after(min(wait_s, limits.CLOCK_LOOK_S)):
                await self._armed.wait()
                continue
            await self._writer.insist(partial(self._time, now_ms=self._now_ms()))

    def _time(self, tx: Tx, *, now_ms: int) -> None:
        """Deadlines and retries that have come, inside the transaction."""
        due = runs.timers_due(tx.conn, now_ms, limits.RECEIVE_RECORDS_MAX)
        steps = self._ledger.load(tx, due, now_ms=now_ms)
        for step in steps.values():
            deadline_ms = step.run.deadline_ms
            if deadline_ms is not None and deadline_ms <= now_ms:
                step.time_out()
            else:
                step.release_due()
        self._ledger.save(tx, list(steps.values()))


def _tell_all(tx: Tx) -> None:
    terms.tell_all(tx)
    split.tell(tx)
