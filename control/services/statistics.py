"""Owns how results become facts: each is counted once, and never in the way of a job.

A batch is stored together with the offsets it comes from, and acknowledged after that. So what a
crash in between delivers again is recognised by its offset and only acknowledged. Who asks
is told how long jobs took before.
"""

from collections import OrderedDict, defaultdict
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import partial
from typing import NamedTuple, TypeVar

import structlog
import trio

from control.bus.interface import Bus, Subscription
from control.bus.tailing import Followed, follow
from control.core.epochs import is_of_this_life
from control.model import limits
from control.model.api.reports import Learned as LearnedOfJob
from control.model.bus.child_messages import ChildEnded
from control.model.bus.messages import Announce, Finished, Learned, Skipped
from control.model.bus.records import Delivery, Receipts, Record
from control.model.errors import StoreFailed
from control.model.life import KnownAttempts, Lost
from control.model.names import Group, Service, Topic
from control.model.states import Outcome
from store.database.writer import Offload
from store.facts.database import Facts
from store.facts.fact import Counted, Fact

T = TypeVar("T")
LOG = structlog.get_logger("statistics")
_TOPIC = Topic.TASK_RUN_RESULTS
_LEARNERS = frozenset({Service.BALANCER, Service.API})


class Restored(NamedTuple):
    """What there is to know of a state that is not in its first epoch."""

    epoch: int
    last_id: int  # Before the first one of this epoch.
    # Which facts must not be; takes those of retries, as job ids and attempts.
    find_lost: Callable[[Sequence[tuple[int, int]]], Awaitable[Lost]]
    # What is known of jobs' attempts; None: the bus was restored with the state, and delivers
    # nothing of a lost life.
    attempts: Callable[[Collection[int]], Awaitable[Mapping[int, KnownAttempts]]] | None


class FactBatch:
    """What waits to be stored: small facts instead of messages, which may hold megabytes."""

    def __init__(self) -> None:
        self.offsets: defaultdict[int, list[int]] = defaultdict(list)
        self.facts: defaultdict[int, dict[int, Fact]] = defaultdict(dict)  # By offset.
        self.size = 0

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Keep what counts of these, and all offsets."""
        for delivery in deliveries:
            self.offsets[delivery.partition].append(delivery.offset)
            fact = fact_of(delivery)
            if fact is not None:
                self.facts[delivery.partition][delivery.offset] = fact
        self.size += len(deliveries)

    def jobs(self, last_id: int) -> set[int]:
        """The jobs of these facts up to this id."""
        found = (fact.job_id for facts in self.facts.values() for fact in facts.values())
        return {job_id for job_id in found if job_id <= last_id}

    def drop_lost(self, last_id: int, attempts: Mapping[int, KnownAttempts]) -> None:
        """Leave out what ended in a life that is lost; `attempts`: of the jobs that are known."""
        self._filter(
            lambda fact: fact.job_id > last_id or _is_the_states(fact, attempts.get(fact.job_id))
        )

    def drop_counted(self, counted: set[Counted]) -> None:
        """Leave out what is a fact already, and what a skip that is one stands for."""
        self._filter(lambda fact: not _counted_as(fact) & counted)

    def _filter(self, counts: Callable[[Fact], bool]) -> None:
        for partition, facts in self.facts.items():
            self.facts[partition] = {at: fact for at, fact in facts.items() if counts(fact)}

    def after(self, reached: dict[int, int]) -> list[Fact]:
        """The facts that are not stored yet."""
        return [
            fact
            for partition, facts in self.facts.items()
            for offset, fact in facts.items()
            if offset > reached.get(partition, -1)
        ]

    def ends(self, reached: dict[int, int]) -> dict[int, int]:
        """The last offset of each partition that has moved."""
        ends = {partition: max(offsets) for partition, offsets in self.offsets.items()}
        return {p: end for p, end in ends.items() if end > reached.get(p, -1)}

    def receipts(self) -> list[Receipts]:
        """What to acknowledge."""
        return [
            Receipts(Group.STATISTICS, _TOPIC, partition, offsets)
            for partition, offsets in self.offsets.items()
        ]


class Statistics:
    """Reads the results, appends them to the facts. `failing` says why it cannot, if so."""

    def __init__(
        self,
        bus: Bus,
        facts: Facts,
        offload: Offload,
        reporting: Offload | None = None,
        restored: Restored | None = None,
    ) -> None:
        """`reporting`: where what is learned is read, which may take a while.

        `restored`: None: the state is in its first epoch.
        """
        self._restored = restored
        self._bus = bus
        self._facts = facts
        self._offload = offload
        self._reporting = reporting or offload
        self._reached: dict[int, int] | None = None  # None: to be read from the file first.
        # Attempts whose jobs ended without them, newest last: a worker's end comes too late.
        # With their runs: what names a job with another run is foreign.
        self._skipped: OrderedDict[tuple[int, int, int], None] = OrderedDict()
        self.failing: str | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; what was received by then is still stored, if it can be soon."""
        subscription = await self._bus.subscribe(_TOPIC, Group.STATISTICS)
        # After a gap: perhaps somebody asked meanwhile.
        commands = await follow(self._bus, Topic.TASK_COMMANDS, "statistics", self._teach)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._store, subscription)
            nursery.start_soon(self._answer, commands)
            task_status.started()

    async def _store(self, subscription: Subscription) -> None:
        if self._restored is not None:
            await self._enter(self._restored)
        while True:
            batch = FactBatch()
            batch.add(await subscription.receive())
            try:
                with trio.move_on_after(limits.FACTS_FLUSH_S):
                    while batch.size < limits.FACTS_BATCH_MAX:
                        batch.add(await subscription.receive())
                # Nothing is received meanwhile: while the file fails, memory stays bounded.
                await self._flush(batch)
            except trio.Cancelled:
                with trio.move_on_after(limits.ACK_S, shield=True):
                    await self._flush(batch)
                raise

    async def _enter(self, restored: Restored) -> None:
        """Forget what a restored state does not know of, once for each restore."""
        epoch = restored.epoch
        while True:
            try:
                if await self._offload(self._facts.epoch) != epoch:
                    lost = await restored.find_lost(await self._offload(self._facts.retries))
                    forgotten = await self._offload(partial(self._facts.enter, epoch, lost))
                    LOG.warning("statistics.restored", epoch=epoch, forgotten=forgotten)
                break
            except StoreFailed as error:
                self._say(str(error))
            await trio.sleep(limits.FACTS_RETRY_S)

    async def _answer(self, commands: Followed) -> None:
        """Answer announcements with what is known; those that came meanwhile get one answer."""
        while True:
            found = await commands.receive()
            if any(isinstance(each, Announce) and each.by in _LEARNERS for each in found):
                await self._teach()

    async def _teach(self) -> None:
        try:
            durations = await self._reporting(self._facts.durations)
        except StoreFailed as error:  # Statistics are never in the way of a job.
            LOG.warning("statistics.failing", error=str(error))
            return
        for learned in _messages(durations):
            await self._bus.publish([Record(Topic.TASK_NEWS, learned)])

    async def _flush(self, batch: FactBatch) -> None:
        while True:
            try:
                await self._drop_lost(batch)
                await self._offload(lambda: self._append(batch))
                break
            except StoreFailed as error:
                self._reached = None  # The commit may have happened all the same: ask the file.
                self._say(str(error))
            await trio.sleep(limits.FACTS_RETRY_S)
        self._say(None)
        await self._bus.forward(batch.receipts(), [])

    async def _drop_lost(self, batch: FactBatch) -> None:
        """Topics outlive a restore: ends of jobs of former lives count as far as the state says.

        Each once: facts from an archive do not have the offsets that they come from.
        """
        restored = self._restored
        if restored is None or restored.attempts is None:
            return
        if jobs := batch.jobs(restored.last_id):
            batch.drop_lost(restored.last_id, await restored.attempts(jobs))
            batch.drop_counted(await self._offload(partial(self._facts.counted, jobs)))

    def _say(self, failing: str | None) -> None:
        if failing != self.failing:
            LOG.warning("statistics.failing" if failing else "statistics.recovered", error=failing)
        self.failing = failing

    def _append(self, batch: FactBatch) -> None:
        if self._reached is None:
            self._reached = self._facts.reached(_TOPIC)
            known = self._facts.skipped(limits.SKIPPED_KNOWN_MAX)
            self._skipped = OrderedDict.fromkeys(reversed(known))
        ends = batch.ends(self._reached)
        if ends:
            facts = batch.after(self._reached)
            skipped = {_attempt(fact) for fact in facts if fact.is_skip}
            self._know(skipped)
            # One final fact an attempt, and the state's: a job that was cancelled while an attempt
            # of it was on its way has two ends, of which the trigger refuses the worker's.
            counted = [
                fact for fact in facts if fact.is_skip or _attempt(fact) not in self._skipped
            ]
            self._facts.append(counted, _TOPIC, ends, withdrawn=skipped)
            self._reached |= ends

    def _know(self, skipped: Iterable[tuple[int, int, int]]) -> None:
        self._skipped.update(dict.fromkeys(skipped))
        while len(self._skipped) > limits.SKIPPED_KNOWN_MAX:
            self._skipped.popitem(last=False)


def _is_the_states(fact: Fact, known: KnownAttempts | None) -> bool:
    """Whether an end is the one that the state has. The skip's own fact may be lost."""
    if known is None or not is_of_this_life(fact.attempt, known):
        return False
    return fact.is_skip or not known.skipped or fact.attempt != known.current


def _attempt(fact: Fact) -> tuple[int, int, int]:
    return fact.run_id, fact.job_id, fact.attempt


def _counted_as(fact: Fact) -> set[Counted]:
    """The facts that stand for this one: itself, or the skip of its attempt."""
    return {(*_attempt(fact), fact.pipeline, skip) for skip in (True, fact.is_skip)}


def _messages(durations: Sequence[LearnedOfJob]) -> Iterator[Learned]:
    for at in range(0, len(durations), limits.LEARNED_KEYS_MAX):
        part = durations[at : at + limits.LEARNED_KEYS_MAX]
        yield Learned(durations=tuple((each.pipeline, each.job, each.durations) for each in part))


def fact_of(delivery: Delivery) -> Fact | None:
    """The row of one message; None if it is none that ends anything."""
    match delivery.message:
        case Finished() | ChildEnded() as ended:
            began = ended.started_ms is not None
            return Fact(
                run_id=ended.run_id,
                job_id=ended.job_id,
                attempt=ended.attempt,
                pipeline=ended.pipeline,
                job=ended.name,
                stage=ended.stage,
                kind=ended.kind,
                client=ended.client,
                worker=ended.worker,
                partition=ended.partition,
                speed=ended.speed,
                outcome=ended.outcome,
                final=ended.final,
                expected=ended.expected,
                ready_ms=ended.ready_ms,
                started_ms=ended.started_ms,
                finished_ms=ended.finished_ms,
                # The clocks of two hosts may differ: an attempt seems to begin before it was ready.
                wait_seconds=max(0.0, ended.wait_seconds) if began else None,
                duration_seconds=max(0.0, ended.duration_seconds) if began else None,
                exit_code=ended.exit_code,
                error=ended.error and ended.error[: limits.FACT_ERROR_CHARS_MAX],
            )
        case Skipped() as ended:
            return Fact(
                run_id=ended.run_id,
                job_id=ended.job_id,
                attempt=ended.attempt,
                pipeline=ended.pipeline,
                job=ended.name,
                kind=ended.kind,
                client=ended.client,
                outcome=Outcome.CANCELLED,
                final=True,
                ready_ms=ended.ready_ms,
                finished_ms=ended.finished_ms,
                error=ended.reason[: limits.FACT_ERROR_CHARS_MAX],
            )
    return None
