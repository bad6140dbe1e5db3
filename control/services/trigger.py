"""Owns the trigger: what happened to attempts becomes state, and what comes next is released.

One transaction a batch: state, outputs, the next `task_runs`, and the receipts.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import structlog
import trio

from control.bus.base import Bus, Subscription
from control.core.advance import Advance
from control.core.timers import Timers
from control.model.messages import CancelJob, Deadline, Finished, Progressed, Started
from control.model.names import Group, Topic
from control.model.records import Delivery, Receipts, Record
from control.model.states import FINAL, Outcome, State
from control.transactions.ledger import Ledger
from store import runs
from store.writer import Tx, Writer

LOG = structlog.get_logger("trigger")
T = TypeVar("T")


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
        self._timers = Timers()
        self._armed = trio.Event()
        self.refused = 0  # Results that did not count.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        results = await self._bus.subscribe(Topic.TASK_RUN_RESULTS, Group.TRIGGER)
        events = await self._bus.subscribe(Topic.TASK_RUN_EVENTS, Group.TRIGGER)
        commands = await self._bus.tail(Topic.TASK_COMMANDS)
        await self._load_timers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, results, Topic.TASK_RUN_RESULTS)
            nursery.start_soon(self._serve, events, Topic.TASK_RUN_EVENTS)
            nursery.start_soon(self._watch_deadlines, commands)
            nursery.start_soon(self._keep_time)
            task_status.started()

    async def _watch_deadlines(self, commands: Subscription) -> None:
        while True:
            for delivery in await commands.receive():
                if isinstance(delivery.message, Deadline):
                    self._watch(delivery.message.run_id, delivery.message.at_ms)

    def _watch(self, run_id: int, at_ms: int) -> None:
        self._timers.add(at_ms, run_id)
        self._armed.set()

    async def _serve(self, subscription: Subscription, topic: Topic) -> None:
        while True:
            deliveries = await subscription.receive()
            now_ms = self._now_ms()
            jitters = [self._jitter() for _ in deliveries]
            work = partial(
                self._apply, topic=topic, deliveries=deliveries, jitters=jitters, now_ms=now_ms
            )
            due = await self._writer.insist(work)
            for at_ms, run_id in due:
                self._watch(run_id, at_ms)

    def _apply(
        self,
        tx: Tx,
        *,
        topic: Topic,
        deliveries: Sequence[Delivery],
        jitters: Sequence[float],
        now_ms: int,
    ) -> list[tuple[int, int]]:
        """One batch, inside the transaction. Gives the retries to wake up for: when, which run."""
        wanted = {
            delivery.message.run_id
            for delivery in deliveries
            if isinstance(delivery.message, Started | Progressed | Finished)
        }
        steps = self._ledger.load(tx, wanted, now_ms=now_ms)
        outputs: list[tuple[int, str]] = []
        for delivery, jitter in zip(deliveries, jitters, strict=True):
            message = delivery.message
            if not isinstance(message, Started | Progressed | Finished):
                continue
            step = steps.get(message.run_id)
            if step is None:
                continue  # The run was deleted.
            if isinstance(message, Finished):
                self._finished(step, message, jitter, outputs)
            elif isinstance(message, Started):
                self._started(tx, step, message)
            else:
                step.progressed(message.job_id, message.attempt, message.progress)
        if outputs:
            runs.insert_outputs(tx.conn, outputs)
        changed = [step for step in steps.values() if step.changed]
        self._ledger.save(tx, changed)
        offsets = [delivery.offset for delivery in deliveries]
        tx.ack([Receipts(Group.TRIGGER, topic, deliveries[0].partition, offsets)])
        return [
            (job.ready_ms, step.run.id)
            for step in changed
            for job in step.released
            if job.ready_ms is not None and job.ready_ms > now_ms
        ]

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
        if job.state == State.CANCELLED:
            # It was cancelled while it was on its way to the worker.
            stop = CancelJob(job_id=job.id, attempt=message.attempt, reason=job.reason)
            tx.publish([Record(Topic.TASK_COMMANDS, stop, step.run.id)])

    async def _keep_time(self) -> None:
        while True:
            self._armed = trio.Event()
            next_ms = self._timers.next_ms()
            wait_s = math.inf if next_ms is None else max(next_ms - self._now_ms(), 0) / 1000
            with trio.move_on_after(wait_s):
                await self._armed.wait()
                continue
            now_ms = self._now_ms()
            due = self._timers.due(now_ms)
            if due:
                await self._writer.insist(partial(self._time, run_ids=due, now_ms=now_ms))

    def _time(self, tx: Tx, *, run_ids: Sequence[int], now_ms: int) -> None:
        """Deadlines and retries that have come, inside the transaction."""
        late = []
        for step in self._ledger.load(tx, run_ids, now_ms=now_ms).values():
            deadline_ms = step.run.deadline_ms
            if step.run.state not in FINAL and deadline_ms is not None and deadline_ms <= now_ms:
                step.time_out()
                late.append(step)
        self._ledger.save(tx, late)
        ended = {step.run.id for step in late}
        self._ledger.release_due(tx, [r for r in run_ids if r not in ended], now_ms=now_ms)

    async def _load_timers(self) -> None:
        now_ms = self._now_ms()
        for run_id, deadline_ms, retry_ms in await self._writer.insist(
            lambda tx: runs.timers(tx.conn, now_ms)
        ):
            for at_ms in (deadline_ms, retry_ms):
                if at_ms is not None:
                    self._timers.add(at_ms, run_id)
