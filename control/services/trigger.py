"""Owns the trigger: what happened to attempts becomes state, and what comes next is released.

One transaction a batch: state, outputs, the next `task_runs`, and the receipts.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog
import trio

from control.bus.interface import Bus, Subscription
from control.bus.tailing import Followed, follow
from control.core.records.foreign import set_aside
from control.core.runs.advance import Advance
from control.core.runs.attempts import is_answered_for
from control.core.runs.child_runs import portions
from control.core.runs.expand import skipped
from control.core.runs.lost_records import reach_of
from control.model import limits
from control.model.bus.child_messages import ChildEnded, StartChild, StopChild
from control.model.bus.messages import (
    Announce,
    CancelJob,
    Deadline,
    Finished,
    Progressed,
    Started,
    Unstarted,
)
from control.model.bus.records import Delivery, Record, receipts_of
from control.model.bus.reports import RecordsLost
from control.model.clock import Clock
from control.model.errors import NotFound
from control.model.names import Group, Service, Topic
from control.model.states import Outcome, State
from control.transactions import client_announcements, split
from control.transactions.run_transactions import Ledger
from store import children, runs
from store.database.writer import Tx, Writer

LOG = structlog.get_logger("trigger")
T = TypeVar("T")
_OF_RUNS = Started | Unstarted | Progressed | Finished | ChildEnded
_OF_CHILDREN = StartChild | StopChild
_TOLD: Final = frozenset({Service.BALANCER, Service.DISPATCHER})


class Jitter(Protocol):
    """A random number in [-0.1, 0.1]."""

    def __call__(self) -> float:
        """The next one."""


class TriggerService:
    """Moves runs on."""

    def __init__(
        self,
        bus: Bus,
        writer: Writer,
        ledger: Ledger,
        clock: Clock,
        jitter: Jitter,
    ) -> None:
        self._bus = bus
        self._writer = writer
        self._ledger = ledger
        self._clock = clock
        self._jitter = jitter
        self._armed = trio.Event()
        self.refused = 0  # Results that did not count.
        self._logged = 0  # Of the triggers that started nothing,
        self._log_after_s = -math.inf  # and when to log more of them.

    @property
    def triggers_refused(self) -> int:
        """How many triggers have started nothing: over a bound, or not allowed."""
        return self._ledger.descendants.triggers_refused

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        results = await self._bus.subscribe(Topic.TASK_RUN_RESULTS, Group.TRIGGER)
        events = await self._bus.subscribe(Topic.TASK_RUN_EVENTS, Group.TRIGGER)
        commands = await follow(self._bus, Topic.TASK_COMMANDS, "trigger", self._after_gap)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, results, Topic.TASK_RUN_RESULTS)
            nursery.start_soon(self._serve, events, Topic.TASK_RUN_EVENTS)
            nursery.start_soon(self._watch_deadlines, commands)
            nursery.start_soon(self._keep_time)
            task_status.started()

    async def _after_gap(self) -> None:
        """There may have been a deadline, or an announcement."""
        self._armed.set()
        await self._writer.insist(_tell_all)

    async def _watch_deadlines(self, commands: Followed) -> None:
        # To who announced itself while nobody was here: clients and split, as they are now.
        await self._writer.insist(_tell_all)
        while True:
            found = await commands.receive()
            if any(isinstance(message, Deadline) for message in found):
                self._armed.set()
            if any(isinstance(each, Announce) and each.by in _TOLD for each in found):
                await self._writer.insist(_tell_all)

    async def _serve(self, subscription: Subscription, topic: Topic) -> None:
        while True:
            deliveries = await subscription.receive()
            lost = [d for d in deliveries if isinstance(d.message, RecordsLost)]
            if lost:
                deliveries = [each for each in deliveries if each not in lost]
            for portion in portions(deliveries):
                work = partial(
                    self._apply,
                    topic=topic,
                    deliveries=portion,
                    jitters=[self._jitter() for _ in portion],
                    now_ms=self._clock.wall_ms(),
                )
                if await self._writer.insist(work):
                    self._armed.set()
            self._log_refusals()
            if lost:
                await self._publish_again(lost)

    async def _publish_again(self, deliveries: Sequence[Delivery]) -> None:
        """Records are gone from the bus: publish again what is open, in portions; then be done.

        A crash in between restarts it: each job gets one more attempt, which replaces the last.
        """
        lost = [each.message for each in deliveries if isinstance(each.message, RecordsLost)]
        reach, after, jobs = reach_of(lost), 0, 0
        while reach is not None:
            again = await self._writer.insist(
                partial(
                    self._ledger.publish_again,
                    after=after,
                    reach=reach,
                    now_ms=self._clock.wall_ms(),
                )
            )
            if again is None:
                break
            after, jobs = again.last_run_id, jobs + again.jobs
        if jobs:
            topics = ", ".join(sorted({each.topic for each in lost}))
            LOG.warning("trigger.published_again", jobs=jobs, topics=topics)
        places = [each.place for each in deliveries]
        done = receipts_of(Group.TRIGGER, Topic.TASK_RUN_EVENTS, places)
        await self._writer.insist(lambda tx: tx.ack(done))

    def _log_refusals(self) -> None:
        """Say now and then that triggers start nothing: of a circle there may be thousands."""
        descendants = self._ledger.descendants
        count = descendants.triggers_refused - self._logged
        if count and trio.current_time() >= self._log_after_s:
            self._logged += count
            self._log_after_s = trio.current_time() + limits.TRIGGERS_LOGGED_EVERY_S
            LOG.warning("trigger.refused", count=count, last=descendants.last_refusal)

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
            try:
                if isinstance(message, Finished | ChildEnded):
                    self._finished(tx, step, message, jitter, outputs)
                elif isinstance(message, Started):
                    self._started(tx, step, message)
                elif isinstance(message, Unstarted):
                    step.unstarted(message)
                else:
                    step.progressed(message.job_id, message.attempt, message.progress)
            except NotFound as error:
                self._set_aside(tx, delivery, message.run_id, str(error), now_ms)
        if outputs:
            runs.insert_outputs(tx.conn, outputs)
        changed = [step for step in steps.values() if step.changed]
        self._ledger.save(tx, changed)
        timed = self._children(tx, deliveries, now_ms)
        tx.ack(receipts_of(Group.TRIGGER, topic, [delivery.place for delivery in deliveries]))
        return timed or any(job.delayed for step in changed for job in step.released)

    def _children(self, tx: Tx, deliveries: Sequence[Delivery], now_ms: int) -> bool:
        """Start and stop runs that are jobs, one after the other: each may change several runs.

        True: there may be time-outs to wake up for.
        """
        timers_set, descendants = False, self._ledger.descendants
        for delivery in deliveries:
            message = delivery.message
            try:
                if isinstance(message, StopChild):
                    descendants.stop_child(tx, message, now_ms=now_ms)
                elif isinstance(message, StartChild):
                    timers_set = True
                    found = self._ledger.load(tx, [message.run_id], now_ms=now_ms)
                    for step in found.values():  # None: the run was deleted.
                        descendants.start_child(tx, step, message)
                        self._ledger.save(tx, [step] if step.changed else [])
            except NotFound as error:
                assert isinstance(message, _OF_CHILDREN)
                self._set_aside(tx, delivery, message.run_id, str(error), now_ms)
        return timers_set

    def _finished(
        self,
        tx: Tx,
        step: Advance,
        message: Finished | ChildEnded,
        jitter: float,
        outputs: list[tuple[int, str]],
    ) -> None:
        if not step.finished(message, jitter=jitter):
            self.refused += 1
            job = step.job(message.job_id)
            if is_answered_for(job, message):
                end = skipped(step.run, step.graph, job, job.finished_ms or step.now_ms)
                tx.publish([Record(Topic.TASK_RUN_RESULTS, end, step.run.id)])
            return
        text = bytes(message.output)
        if message.outcome == Outcome.DONE and text != b"null":
            outputs.append((message.job_id, text.decode()))

    def _started(self, tx: Tx, step: Advance, message: Started) -> None:
        if step.started(message):
            return
        job = step.job(message.job_id)
        if job.state == State.CANCELLED or message.attempt < job.attempt:
            # It was cancelled while it was on its way, or while no dispatcher held its lease.
            cancelled = job.attempt == message.attempt
            reason = job.reason if cancelled else "another attempt has taken its place"
            stop = CancelJob(job_id=job.id, attempt=message.attempt, reason=reason)
            tx.publish([Record(Topic.TASK_COMMANDS, stop, step.run.id)])

    def _set_aside(self, tx: Tx, delivery: Delivery, key: int, error: str, now_ms: int) -> None:
        """A record that names what is not there becomes a dead letter, in the transaction."""
        LOG.warning(
            "bus.dead_letter",
            topic=delivery.topic,
            partition=delivery.partition,
            offset=delivery.offset,
            error=error,
        )
        tx.publish([set_aside(delivery, key, error, now_ms)])

    async def _keep_time(self) -> None:
        while True:
            self._armed = trio.Event()
            next_ms = await self._writer.insist(lambda tx: runs.next_timer_ms(tx.conn))
            left_ms = math.inf if next_ms is None else max(next_ms - self._clock.steady_ms(), 0)
            # A machine that was suspended has slept less than has passed.
            with trio.move_on_after(min(left_ms / 1000, limits.CLOCK_LOOK_S)):
                await self._armed.wait()
                continue
            await self._writer.insist(self._time)

    def _time(self, tx: Tx) -> None:
        """Deadlines and retries that have come, inside the transaction."""
        steady_ms = self._clock.steady_ms()
        due = runs.timers_due(tx.conn, steady_ms, limits.RECEIVE_RECORDS_MAX)
        steps = self._ledger.load(tx, due, now_ms=self._clock.wall_ms())
        for step in steps.values():
            deadline_ms = step.run.deadline_ms
            if deadline_ms is not None and deadline_ms <= steady_ms:
                step.time_out()
            else:
                step.release_due()
        self._ledger.save(tx, list(steps.values()))
        for link in children.due(tx.conn, steady_ms, limits.RECEIVE_RECORDS_MAX):
            self._ledger.descendants.time_out(tx, link, now_ms=self._clock.wall_ms())


def _tell_all(tx: Tx) -> None:
    client_announcements.tell_all(tx)
    split.tell(tx)
