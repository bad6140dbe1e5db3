"""Owns the balancer: takes in what waits and what happened, forwards what may be sent now.

Decisions are in `control.core.balance`; the receipt of a job and its placement are one forward.
"""

from collections import defaultdict
from collections.abc import Callable

import trio

from control.bus.base import Bus, Subscription
from control.core.balance import Assignment, Balancer, Policy
from control.model import limits
from control.model.messages import (
    Announce,
    CancelJob,
    ClientChanged,
    DispatcherUp,
    DrainWorker,
    Finished,
    JobReady,
    LoadOfPartition,
    Message,
    Overran,
    Placed,
    ReorderJob,
    WorkerDown,
    WorkerUp,
)
from control.model.names import Group, Service, Topic
from control.model.records import Delivery, Receipts, Record


class BalancerService:
    """The balancer on the bus."""

    def __init__(self, policy: Policy, bus: Bus, now_ms: Callable[[], int]) -> None:
        self._policy = policy
        self._bus = bus
        self._now_ms = now_ms
        self._core = Balancer(policy)
        self._wake = trio.Event()
        # Offsets finished without a placement: they go with the next forward.
        self._finished: defaultdict[Topic, list[int]] = defaultdict(list)
        self._moved: list[Record] = []  # Jobs that come back with another place in the order.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        news = await self._bus.tail(Topic.TASK_NEWS)
        results = await self._bus.tail(Topic.TASK_RUN_RESULTS)
        jobs = await self._bus.subscribe(Topic.TASK_RUNS, Group.BALANCER)
        commands = await self._bus.subscribe(Topic.TASK_COMMANDS, Group.BALANCER)
        async with trio.open_nursery() as nursery:
            for subscription in (news, results, jobs, commands):
                nursery.start_soon(self._take_in, subscription)
            nursery.start_soon(self._forward)
            await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.BALANCER))])
            task_status.started()

    def partitions(self) -> list[LoadOfPartition]:
        """Every partition's load."""
        return self._core.partitions()

    def why(self, job_id: int) -> str | None:
        """Why a job waits here, in words; None when it does not."""
        return self._core.why(job_id)

    def expected(self, pipeline: str, name: str) -> float | None:
        """Seconds a job of this name should take; None: none has ended yet."""
        estimates, key = self._core.estimates, (pipeline, name)
        return estimates.expected(key) if estimates.is_known(key) else None

    def learn(self, pipeline: str, name: str, seconds: float) -> None:
        """A duration from before this start."""
        self._core.estimates.learn((pipeline, name), seconds)

    async def _take_in(self, subscription: Subscription) -> None:
        while True:
            for delivery in await subscription.receive():
                self._happened(delivery)
            self._wake.set()

    def _happened(self, delivery: Delivery) -> None:
        match delivery.message:
            case JobReady() as job:
                if not self._core.submit(job, delivery.offset):
                    self._finished[Topic.TASK_RUNS].append(delivery.offset)
            case Finished() as message:
                self._core.finished(message)
            case _ if delivery.topic == Topic.TASK_COMMANDS:
                self._commanded(delivery.message)
                self._finished[Topic.TASK_COMMANDS].append(delivery.offset)
            case _:
                self._workers_changed(delivery.message)

    def _commanded(self, message: Message) -> None:
        core = self._core
        match message:
            case CancelJob(job_id=job_id, attempt=attempt):
                offset = core.cancel(job_id, attempt)
                if offset is not None:
                    self._finished[Topic.TASK_RUNS].append(offset)
            case ReorderJob(job_id=job_id, order=order):
                moved = core.reorder(job_id, order)
                if moved is not None:
                    self._moved.append(Record(Topic.TASK_RUNS, moved[0], moved[0].run_id))
                    self._finished[Topic.TASK_RUNS].append(moved[1])
            case ClientChanged():
                core.client_changed(message.client, message.priority, message.max_running)
            case DrainWorker(worker=worker):
                core.drain(worker)
            case _:
                pass  # For the dispatchers or the trigger.

    def _workers_changed(self, message: Message) -> None:
        core = self._core
        match message:
            case WorkerUp():
                core.worker_up(message)
            case WorkerDown(worker=worker):
                core.worker_down(worker)
            case Overran():
                core.overran(message.worker, message.job_ids)
            case DispatcherUp():
                core.dispatcher_up(message)
            case _:
                pass  # Starts, progress, skipped jobs.

    async def _forward(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            made = self._core.assign(self._now_ms(), limits.FRAME_MESSAGES_MAX)
            if len(made) == limits.FRAME_MESSAGES_MAX:
                self._wake.set()
            finished, self._finished = self._finished, defaultdict(list)
            finished[Topic.TASK_RUNS] += [assignment.offset for assignment in made]
            finished[Topic.TASK_RUNS] += self._core.superseded
            self._core.superseded = []
            acked = [
                Receipts(Group.BALANCER, topic, 0, offsets)
                for topic, offsets in finished.items()
                if offsets
            ]
            published, self._moved = self._moved, []
            published += [_placed(assignment) for assignment in made]
            if acked:
                await self._bus.forward(acked, published)


def _placed(made: Assignment) -> Record:
    message = Placed(
        job=made.job,
        partition=made.partition,
        worker=made.worker,
        speed=made.speed,
        expected=made.expected_s,
    )
    return Record(Topic.TASK_RUNS_LOAD_BALANCED, message, made.job.run_id, made.partition)
