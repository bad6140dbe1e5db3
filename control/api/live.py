"""Owns what the API knows from the bus: workers, what they were given, and what changed lately."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from control.api.metrics import Metrics
from control.bus.base import Bus, Subscription
from control.core.roster import Changes, Roster
from control.model import limits
from control.model.errors import BusUnavailable
from control.model.fleet import RunningView, WorkerView
from control.model.messages import (
    Announce,
    CancelJob,
    DispatcherUp,
    Finished,
    Hold,
    JobReady,
    Message,
    Placed,
    Progressed,
    ReorderJob,
    Skipped,
    Started,
    WorkerDown,
    WorkerUp,
)
from control.model.names import Service, Topic
from control.model.records import Record
from control.model.times import to_rfc3339

LOG = structlog.get_logger("api")
_TOPICS: Final = (
    Topic.TASK_RUNS,
    Topic.TASK_RUNS_LOAD_BALANCED,
    Topic.TASK_RUN_EVENTS,
    Topic.TASK_RUN_RESULTS,
    Topic.TASK_COMMANDS,
    Topic.TASK_NEWS,
)
# Topics overtake each other: a placement read after its result must not stay for ever.
_ENDED_MAX: Final = 20_000


class _Given(msgspec.Struct):
    """A job that a worker has been given."""

    job_id: int
    attempt: int
    worker: str
    partition: int | None
    pipeline: str
    name: str
    expected: float
    run_id: int | None = None
    started_ms: int | None = None


class _Lost(msgspec.Struct, frozen=True):
    info: WorkerUp
    reason: str
    at_ms: int


class Live:
    """What goes on now. Written by its own tasks, read by the calls; nothing here blocks."""

    def __init__(self, bus: Bus, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._bus = bus
        self._metrics = metrics
        self._now_ms = now_ms
        self._roster = Roster()
        self._lost: OrderedDict[str, _Lost] = OrderedDict()
        self._given: dict[int, _Given] = {}
        self._ended: OrderedDict[tuple[int, int], None] = OrderedDict()
        # What a listener has to be told; kept only while somebody listens.
        self.listening = False
        self.changed_runs: OrderedDict[int, float] = OrderedDict()
        self.changed_jobs: OrderedDict[int, float] = OrderedDict()
        self.fleet_changes = 0
        self.gaps = 0  # How often messages were missed.
        self._woken = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for topic in _TOPICS:
                subscription = await self._bus.tail(topic)
                nursery.start_soon(self._follow, topic, subscription)
            await self._announce()
            task_status.started()

    def changed(self) -> trio.Event:
        """Set by the next change; get it before looking, wait after."""
        return self._woken

    def workers(self) -> list[WorkerView]:
        """All workers, those lost lately last."""
        by_worker: dict[str, list[_Given]] = {}
        for given in self._given.values():
            by_worker.setdefault(given.worker, []).append(given)
        shown = [
            _worker(info, by_worker.get(name, []))
            for name, info in sorted(self._roster.workers.items())
        ]
        oldest_ms = self._now_ms() - limits.LOST_WORKERS_MS
        while self._lost and next(iter(self._lost.values())).at_ms < oldest_ms:
            self._lost.popitem(last=False)
        shown += [_worker(lost.info, by_worker.get(n, []), lost) for n, lost in self._lost.items()]
        return shown

    def has_worker(self, name: str) -> bool:
        """Whether a worker of this name is connected."""
        return name in self._roster.workers

    def heads(self) -> dict[int, RunningView]:
        """For each partition the job that has run longest."""
        found: dict[int, _Given] = {}
        for given in self._given.values():
            if given.started_ms is None or given.partition is None:
                continue
            head = found.get(given.partition)
            if head is None or given.started_ms < (head.started_ms or 0):
                found[given.partition] = given
        return {partition: _running(given) for partition, given in found.items()}

    def totals(self) -> tuple[int, int, int]:
        """How many jobs run, workers are connected, and slots they have."""
        running = sum(given.started_ms is not None for given in self._given.values())
        workers = self._roster.workers.values()
        return running, len(workers), sum(up.slots for up in workers)

    async def _announce(self) -> None:
        await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.API))])

    async def _follow(self, topic: Topic, subscription: Subscription) -> None:
        while True:
            try:
                deliveries = await subscription.receive()
            except BusUnavailable as error:
                LOG.warning("live.gap", topic=topic, reason=str(error))
                subscription = await self._bus.tail(topic)
                self.gaps += 1
                self._given.clear()  # The dispatchers say again what they hold.
                await self._announce()
                continue
            for delivery in deliveries:
                self._take(delivery.message)
            self._woken.set()
            self._woken = trio.Event()

    def _take(self, message: Message) -> None:
        match message:
            case Finished():
                self._metrics.finished(message)
                self._end(message.job_id, message.attempt)
                self._mark(message.run_id, message.job_id)
            case Placed():
                self._place(message)
            case Started():
                given = self._given.get(message.job_id)
                if given is not None and given.attempt == message.attempt:
                    given.started_ms, given.run_id = message.started_ms, message.run_id
                    self.fleet_changes += 1
                self._mark(message.run_id, message.job_id)
            case JobReady() | Progressed():
                self._mark(message.run_id, message.job_id)
            case Skipped():
                self._end(message.job_id, message.attempt)
                self._mark(message.run_id, message.job_id)
            case CancelJob() | ReorderJob():
                self._mark(None, message.job_id)
            case WorkerUp():
                self._workers_changed(self._roster.worker_up(message), "")
            case WorkerDown():
                changes = self._roster.worker_down(message.worker, message.dispatcher)
                self._workers_changed(changes, message.reason)
            case DispatcherUp():
                self._dispatcher_up(message)
            case _:
                pass

    def _place(self, message: Placed) -> None:
        job = message.job
        if (job.job_id, job.attempt) in self._ended:
            return
        self._given[job.job_id] = _Given(
            job_id=job.job_id,
            attempt=job.attempt,
            worker=message.worker,
            partition=message.partition,
            pipeline=job.pipeline,
            name=job.name,
            expected=message.expected,
            run_id=job.run_id,
        )
        self.fleet_changes += 1

    def _end(self, job_id: int, attempt: int) -> None:
        self._ended[job_id, attempt] = None
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)
        given = self._given.get(job_id)
        if given is not None and given.attempt <= attempt:
            del self._given[job_id]
            self.fleet_changes += 1

    def _workers_changed(self, changes: Changes, reason: str) -> None:
        for info in changes.gone:
            self._lost[info.worker] = _Lost(info, reason, self._now_ms())
            if len(self._lost) > limits.LOST_WORKERS_MAX:
                self._lost.popitem(last=False)
        for info in changes.came:
            self._lost.pop(info.worker, None)
            self._hold(info.worker, info.holds)
        self.fleet_changes += bool(changes.gone or changes.came)

    def _hold(self, worker: str, holds: tuple[Hold, ...]) -> None:
        for hold in holds:
            known = self._given.get(hold.job_id)
            if (hold.job_id, hold.attempt) in self._ended:
                continue
            self._given[hold.job_id] = _Given(
                job_id=hold.job_id,
                attempt=hold.attempt,
                worker=worker,
                partition=None if known is None else known.partition,
                pipeline=hold.pipeline,
                name=hold.name,
                expected=hold.expected,
                run_id=None if known is None else known.run_id,
                started_ms=hold.started_ms,
            )

    def _dispatcher_up(self, message: DispatcherUp) -> None:
        changes = self._roster.dispatcher_up(message)
        here = {up.worker for up in changes.came if up.dispatcher == message.dispatcher}
        held = {hold.job_id for up in message.workers for hold in up.holds}
        held |= {hold.job_id for hold in message.adrift}
        self._given = {
            job_id: given
            for job_id, given in self._given.items()
            if job_id in held or given.worker not in here
        }
        self._workers_changed(changes, "its dispatcher is gone, or does not have it any more")

    def _mark(self, run_id: int | None, job_id: int) -> None:
        if not self.listening:
            return
        now = trio.current_time()
        for changed, key in ((self.changed_runs, run_id), (self.changed_jobs, job_id)):
            if key is not None:
                changed[key] = now
                changed.move_to_end(key)
                if len(changed) > limits.CHANGED_RUNS_MAX:
                    changed.popitem(last=False)


def _worker(info: WorkerUp, given: list[_Given], lost: _Lost | None = None) -> WorkerView:
    return WorkerView(
        id=info.worker,
        host=info.host,
        dispatcher=info.dispatcher,
        state="lost" if lost else "draining" if info.draining else "connected",
        reason=lost.reason if lost else "",
        slots=info.slots,
        labels=list(info.labels),
        kinds={name: list(versions) for name, versions in info.kinds},
        partitions=list(info.partitions),
        running=[_running(each) for each in given],
        connected_at=to_rfc3339(info.connected_ms),
        lost_at=to_rfc3339(lost.at_ms) if lost else None,
    )


def _running(given: _Given) -> RunningView:
    return RunningView(
        job_id=given.job_id,
        run_id=given.run_id,
        attempt=given.attempt,
        pipeline=given.pipeline,
        name=given.name,
        worker=given.worker,
        partition=given.partition,
        expected=given.expected,
        started_at=None if given.started_ms is None else to_rfc3339(given.started_ms),
    )
