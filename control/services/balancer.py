"""Owns the balancer: takes in what waits and what happened, forwards what may be sent now.

Decisions are in `control.core.balancer.balancer`; the receipt of a job and its placement are one
forward. Of several balancers one is active: the others wait until they may join its group.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
import trio

from control.bus.interface import Bus, Subscription
from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Assignment, Policy
from control.core.balancer.queue_survey import Survey
from control.model import limits
from control.model.api.balancer import LoadOfPartition, Rules, Waits
from control.model.api.queues import Queues
from control.model.bus.messages import (
    Announce,
    AskQueues,
    AskWhy,
    CancelJob,
    ClientChanged,
    DispatcherUp,
    DrainWorker,
    Finished,
    JobReady,
    Learned,
    Loads,
    Overran,
    Placed,
    ReorderJob,
    SplitChanged,
    ToldQueues,
    ToldWhy,
    WorkerDown,
    WorkerUp,
)
from control.model.bus.records import Delivery, Record, receipts_of
from control.model.names import Group, Service, Topic
from control.model.numbers import JobId

LOG = structlog.get_logger("balancer")
_NONCE_BYTES: Final = 8  # Of each lease: 63 random bits are used.
_AHEAD_MS: Final = limits.CLOCK_STEP_MIN_MS  # The clocks of two hosts may differ by so much.


class BalancerService:
    """The balancer on the bus."""

    def __init__(
        self,
        policy: Policy,
        bus: Bus,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._policy = policy
        self._random_bytes = random_bytes
        self._bus = bus
        self._now_ms = now_ms
        self._core = Balancer(policy)
        self._start_over()

    def _start_over(self) -> None:
        """Forget what another balancer may know better by now; what was learned stays true."""
        self._core = Balancer(self._policy, self._core.estimates, self._core.threshold)
        self._wake = trio.Event()
        self._last_ms = self._now_ms()
        # Places finished without a placement: they go with the next forward.
        self._finished: defaultdict[Topic, list[int]] = defaultdict(list)
        self._moved: list[Record] = []  # Jobs that come back with another place in the order.
        self._asked: dict[AskWhy | AskQueues, float] = {}  # What, and since when.
        self._asking = trio.Event()
        self._told: Loads | None = None
        self._loads_changed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; raises `PartitionsLost`, in a group, when it must start over."""
        self._start_over()
        jobs = await self._bus.subscribe(Topic.TASK_RUNS, Group.BALANCER)
        commands = await self._bus.subscribe(Topic.TASK_COMMANDS, Group.BALANCER)
        results = await self._bus.tail(Topic.TASK_RUN_RESULTS)
        news = await self._bus.tail(Topic.TASK_NEWS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_in, jobs, self._ready)
            nursery.start_soon(self._take_in, commands, self._commanded)
            nursery.start_soon(self._take_in, results, self._ended)
            nursery.start_soon(self._take_in, news, self._heard)
            nursery.start_soon(self._forward)
            nursery.start_soon(self._answer)
            nursery.start_soon(self._tell_loads)
            await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.BALANCER))])
            task_status.started()

    @property
    def waiting(self) -> int:
        """How many jobs wait here."""
        return len(self._core.waiting.jobs)

    def partitions(self) -> Sequence[LoadOfPartition]:
        """Every partition's load."""
        return self._core.partitions()

    def rules(self) -> Rules:
        """What it goes by now."""
        return self._core.rules()

    async def waits(self, job_id: JobId) -> Waits | None:
        """Why a job waits here; None when it does not."""
        await trio.lowlevel.checkpoint()
        return self._core.waits(job_id)

    async def queues(self, limit: int, client: str | None) -> Queues:
        """What waits here, in groups. Jobs are placed while it is gathered."""
        survey, more = Survey(self._core, client), True
        while more:
            await trio.lowlevel.checkpoint()
            more = survey.step()
        await trio.lowlevel.checkpoint()
        return survey.result(limit, self._now_ms())

    def expected(self, pipeline: str, name: str) -> float | None:
        """Seconds a job of this name should take; None: none has ended yet."""
        estimates, key = self._core.estimates, (pipeline, name)
        return estimates.expected(key) if estimates.is_known(key) else None

    async def _take_in(
        self, subscription: Subscription, happened: Callable[[Delivery], bool]
    ) -> None:
        while True:
            changed = False
            for delivery in await subscription.receive():
                changed |= happened(delivery)
            self._log_changes()
            if changed:
                self._wake.set()
                self._loads_changed.set()

    # What happened. True: there may be something to do.

    def _ready(self, delivery: Delivery) -> bool:
        message, place = delivery.message, delivery.place
        if isinstance(message, JobReady) and message.created_ms > self._now() + _AHEAD_MS:
            message = msgspec.structs.replace(message, created_ms=self._last_ms)
        if not isinstance(message, JobReady) or not self._core.submit(message, place):
            self._finished[Topic.TASK_RUNS].append(place)
        return True

    def _commanded(self, delivery: Delivery) -> bool:
        core = self._core
        match delivery.message:
            case CancelJob(job_id=job_id, attempt=attempt):
                place = core.cancel(job_id, attempt)
                if place is not None:
                    self._finished[Topic.TASK_RUNS].append(place)
            case ReorderJob(job_id=job_id, order=order):
                moved = core.reorder(job_id, order)
                if moved is not None:
                    self._moved.append(Record(Topic.TASK_RUNS, moved[0], moved[0].run_id))
                    self._finished[Topic.TASK_RUNS].append(moved[1])
            case ClientChanged() as message:
                core.client_changed(message.client, message.priority, message.max_running)
            case SplitChanged(slow_share=slow_share):
                core.split(slow_share)
            case DrainWorker(worker=worker):
                core.drain(worker)
            case Announce(by=Service.API):
                self._told = None
            case _:
                pass  # For the dispatchers, the trigger, or the statistics.
        self._finished[Topic.TASK_COMMANDS].append(delivery.place)
        return True

    def _ended(self, delivery: Delivery) -> bool:
        if isinstance(delivery.message, Finished):
            self._core.finished(delivery.message, self._now_ms())
            return True
        return False  # Skipped jobs.

    def _heard(self, delivery: Delivery) -> bool:
        core, message = self._core, delivery.message
        match message:
            case WorkerUp():
                core.worker_up(message)
            case WorkerDown():
                core.worker_down(message.worker, message.dispatcher)
            case Overran():
                core.overran(message.worker, message.job_ids)
            case DispatcherUp():
                core.dispatcher_up(message)
            case Learned():
                core.recall(message.durations)
            case AskWhy() | AskQueues():
                if len(self._asked) < limits.ASKED_MAX:  # More would be answered too late.
                    self._asked[message] = trio.current_time()
                    self._asking.set()
                return False
            case _:
                return False  # Its own.
        return True

    def _now(self) -> int:
        """The wall clock; what waits is ranked again after it was set back."""
        now_ms = self._now_ms()
        if now_ms < self._last_ms - _AHEAD_MS:
            self._core.clock_set_back(now_ms)
        self._last_ms = now_ms
        return now_ms

    # What follows.

    async def _forward(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            made = self._core.assign(self._now(), limits.FRAME_MESSAGES_MAX)
            if len(made) == limits.FRAME_MESSAGES_MAX:
                self._wake.set()
            if made:
                self._loads_changed.set()
            finished, self._finished = self._finished, defaultdict(list)
            finished[Topic.TASK_RUNS] += [assignment.place for assignment in made]
            finished[Topic.TASK_RUNS] += self._core.superseded
            self._core.superseded = []
            acked = [
                receipts
                for topic, places in finished.items()
                for receipts in receipts_of(Group.BALANCER, topic, places)
            ]
            published, self._moved = self._moved, []
            # Drawn once a batch, a part for each job: no worker can name another one's lease.
            chance = self._random_bytes(_NONCE_BYTES * len(made)) if made else b""
            published += [_placed(each, chance, at) for at, each in enumerate(made)]
            if acked:
                await self._bus.forward(acked, published)

    async def _answer(self) -> None:
        while True:
            await self._asking.wait()
            self._asking = trio.Event()
            while self._asked:
                # An answer takes a while, and placing jobs must not wait for all of them.
                await trio.lowlevel.checkpoint()
                asked = next(iter(self._asked))
                asked_s = trio.current_time() - self._asked.pop(asked)
                if asked_s <= limits.ANSWER_S:  # Later nobody waits for it any more.
                    answer = await self._answer_to(asked)
                    await self._bus.publish([Record(Topic.TASK_NEWS, answer)])

    async def _answer_to(self, asked: AskWhy | AskQueues) -> ToldWhy | ToldQueues:
        if isinstance(asked, AskWhy):
            return ToldWhy(job_id=asked.job_id, waits=self._core.waits(asked.job_id))
        found = await self.queues(asked.limit, asked.client)
        return ToldQueues(limit=asked.limit, client=asked.client, queues=found)

    async def _tell_loads(self) -> None:
        while True:
            await self._loads_changed.wait()
            self._loads_changed = trio.Event()
            rules, told = self._core.rules(), self._told
            loads = Loads(loads=tuple(self._core.partitions()), rules=rules)
            if loads != told:
                self._told = loads
                if told is not None and told.rules.changes == rules.changes:
                    rules = msgspec.structs.replace(rules, changes=None)  # They are rare, and long.
                    loads = Loads(loads=loads.loads, rules=rules)
                await self._bus.publish([Record(Topic.TASK_NEWS, loads)])
            await trio.sleep(limits.LOADS_EVERY_S)

    def _log_changes(self) -> None:
        for change in self._core.take_changes():
            LOG.info("class.changed", **msgspec.structs.asdict(change))


def _placed(made: Assignment, chance: bytes, at: int) -> Record:
    nonce = chance[at * _NONCE_BYTES : (at + 1) * _NONCE_BYTES]
    message = Placed(
        job=made.job,
        partition=made.partition,
        worker=made.worker,
        speed=made.speed,
        expected=made.expected_s,
        nonce=(int.from_bytes(nonce) >> 1) or 1,  # Fits into any reader's integers.
        owner=made.owner,
    )
    return Record(Topic.TASK_RUNS_LOAD_BALANCED, message, made.job.run_id, made.partition)
