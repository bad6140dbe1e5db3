"""Owns what the API knows from the bus: workers, what they were given, and what changed lately."""

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec
import structlog
import trio

from control.api.given import Given, Lost, show_given, show_worker
from control.api.marks import Marks
from control.api.metrics import Metrics
from control.api.pulses import Notes, Pulses
from control.bus.base import Bus, Subscription
from control.core.roster import Changes, Roster
from control.model import limits
from control.model.balancing import LoadOfPartition
from control.model.errors import BusUnavailable
from control.model.fleet import (
    PartitionView,
    PartitionWithJobs,
    RunningView,
    WorkerView,
    show_partition,
)
from control.model.messages import (
    Announce,
    CancelJob,
    DispatcherUp,
    Finished,
    Hold,
    JobReady,
    Loads,
    Message,
    Placed,
    Progressed,
    ReorderJob,
    Skipped,
    Started,
    WorkerDown,
    WorkerQuiet,
    WorkerUp,
)
from control.model.names import Service, Topic
from control.model.records import Record
from control.model.states import Outcome

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


class Live:
    """What goes on now. Written by its own tasks, read by the calls; nothing here blocks."""

    def __init__(self, bus: Bus, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._bus = bus
        self._metrics = metrics
        self._now_ms = now_ms
        self._roster = Roster()
        self._lost: OrderedDict[str, Lost] = OrderedDict()
        self._known: set[str] = set()  # Workers whose joining is no news.
        self._given: dict[int, Given] = {}
        self._ended: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._silent: dict[str, int] = {}  # Workers that say nothing, and since when.
        self.pulses = Pulses(now_ms())
        self.notes = Notes(now_ms())
        # What a listener has to be told; kept only while somebody listens.
        self.listening = False
        self.marks = Marks()
        self._dirty: set[str] = set()  # Workers that are other than when they were taken last.
        self._unlisted: set[str] = set()
        self.changes = 0  # Grows with all that is read.
        self.gaps = 0  # How often messages were missed.
        self._now = 0.0
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
        self._forget_lost()
        return self._shown([*sorted(self._roster.workers), *self._lost])

    def take_workers(self) -> tuple[list[WorkerView], list[str]]:
        """Workers that changed since this was asked last, and those that are listed no more."""
        self._forget_lost()
        gone = sorted(self._unlisted - self._roster.workers.keys() - self._lost.keys())
        changed = sorted(self._dirty & (self._roster.workers.keys() | self._lost.keys()))
        self._dirty.clear()
        self._unlisted.clear()
        return self._shown(changed), gone

    def touch_workers(self) -> None:
        """Somebody wants to hear of all of them."""
        self._dirty.update(self._roster.workers, self._lost)

    def forget_changes(self) -> None:
        """Nobody listens any more."""
        self.listening = False
        self.marks.clear()
        self._dirty.clear()
        self._unlisted.clear()

    def roll(self) -> None:
        """End what is over: pulses, and seconds of too many notes."""
        now_ms = self._now_ms()
        self.pulses.roll(now_ms, self.running)
        self.notes.roll(now_ms)

    def has_worker(self, name: str) -> bool:
        """Whether a worker of this name is connected."""
        return name in self._roster.workers

    def partitions(self, loads: Iterable[LoadOfPartition]) -> list[PartitionView]:
        """Partitions as they are shown."""
        now_ms, heads = self._now_ms(), self.heads()
        return [self._partition(load, heads.get(load.partition), now_ms) for load in loads]

    def partition(self, load: LoadOfPartition) -> PartitionWithJobs:
        """A partition with what was placed in it: what runs, by its start, then what is ahead."""
        given = [each for each in self._given.values() if each.partition == load.partition]
        given.sort(key=lambda each: math.inf if each.started_ms is None else each.started_ms)
        jobs = [show_given(each) for each in given]
        head = jobs[0] if given and given[0].started_ms is not None else None
        shown = self._partition(load, head, self._now_ms())
        return PartitionWithJobs(**msgspec.structs.asdict(shown), jobs=jobs)

    def heads(self) -> dict[int, RunningView]:
        """For each partition the job that has run longest."""
        found: dict[int, Given] = {}
        for given in self._given.values():
            if given.started_ms is None or given.partition is None:
                continue
            head = found.get(given.partition)
            if head is None or given.started_ms < (head.started_ms or 0):
                found[given.partition] = given
        return {partition: show_given(given) for partition, given in found.items()}

    def running(self) -> int:
        """How many jobs run."""
        return sum(given.started_ms is not None for given in self._given.values())

    def totals(self) -> tuple[int, int, int]:
        """How many jobs run, workers are connected, and slots they have."""
        workers = self._roster.workers.values()
        return self.running(), len(workers), sum(up.slots for up in workers)

    def _partition(
        self, load: LoadOfPartition, head: RunningView | None, now_ms: int
    ) -> PartitionView:
        return show_partition(load, head, now_ms, self.pulses.per_minute(load.partition))

    def _shown(self, names: Collection[str]) -> list[WorkerView]:
        """These workers, connected or lost, in this order."""
        wanted = frozenset(names)
        by_worker: dict[str, list[Given]] = {}
        for given in self._given.values() if wanted else ():
            if given.worker in wanted:
                by_worker.setdefault(given.worker, []).append(given)
        shown: list[WorkerView] = []
        for name in names:
            lost = self._lost.get(name)
            info = lost.info if lost else self._roster.workers[name]
            held, silent_since_ms = by_worker.get(name, []), self._silent.get(name)
            shown.append(show_worker(info, held, silent_since_ms, lost))
        return shown

    def _forget_lost(self) -> None:
        oldest_ms = self._now_ms() - limits.LOST_WORKERS_MS
        while self._lost and next(iter(self._lost.values())).at_ms < oldest_ms:
            self._unlist()

    def _unlist(self) -> None:
        name, _ = self._lost.popitem(last=False)
        if self.listening:
            self._unlisted.add(name)

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
            self.roll()
            self._now = trio.current_time()
            for delivery in deliveries:
                self._take(delivery.message)
            self.changes += 1
            self._woken.set()
            self._woken = trio.Event()

    def _take(self, message: Message) -> None:
        match message:
            case Finished():
                self._finish(message)
            case Placed():
                self._place(message)
            case Started():
                given = self._given.get(message.job_id)
                if given is not None and given.attempt == message.attempt:
                    given.started_ms, given.run_id = message.started_ms, message.run_id
                    self._touch(given.worker)
                self._mark(message.run_id, message.job_id)
            case JobReady() | Progressed():
                self._mark(message.run_id, message.job_id)
            case Skipped():
                self.pulses.skipped()
                self._end(message.job_id, message.attempt)
                self._mark(message.run_id, message.job_id)
            case CancelJob() | ReorderJob():
                self._mark(None, message.job_id)
            case Loads():
                if message.rules.changes is not None:
                    self.notes.changed(message.rules.changes)
            case _:
                self._heed(message)

    def _heed(self, message: Message) -> None:
        """News of workers."""
        match message:
            case WorkerUp():
                self._workers_changed(self._roster.worker_up(message), "")
            case WorkerDown():
                changes = self._roster.worker_down(message.worker, message.dispatcher)
                self._workers_changed(changes, message.reason)
            case WorkerQuiet():
                self._quiet(message)
            case DispatcherUp():
                self._dispatcher_up(message)
            case _:
                pass

    def _finish(self, message: Finished) -> None:
        self._metrics.finished(message)
        self.pulses.finished(message)
        if message.outcome != Outcome.DONE:
            given = self._given.get(message.job_id)
            tried, tries = 0, 0
            if given is not None and given.attempt == message.attempt:
                tried, tries = given.tried, given.tries
            self.notes.finished(message, tried, tries)
        self._end(message.job_id, message.attempt)
        self._mark(message.run_id, message.job_id)

    def _place(self, message: Placed) -> None:
        job = message.job
        self.pulses.placed(message.partition)
        if (job.job_id, job.attempt) in self._ended:
            return
        tried = job.attempt - job.lost  # Lost workers cost no try.
        self._given[job.job_id] = Given(
            job_id=job.job_id,
            attempt=job.attempt,
            worker=message.worker,
            partition=message.partition,
            pipeline=job.pipeline,
            name=job.name,
            expected=message.expected,
            run_id=job.run_id,
            tried=tried,
            tries=tried + job.retries_left,
        )
        self._touch(message.worker)

    def _end(self, job_id: int, attempt: int) -> None:
        self._ended[job_id, attempt] = None
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)
        given = self._given.get(job_id)
        if given is not None and given.attempt <= attempt:
            del self._given[job_id]
            self._touch(given.worker)

    def _quiet(self, message: WorkerQuiet) -> None:
        known = self._roster.workers.get(message.worker)
        if known is None or known.dispatcher != message.dispatcher:
            return  # It is elsewhere by now.
        if message.since_ms is None:
            self._silent.pop(message.worker, None)
        else:
            self._silent[message.worker] = message.since_ms
        self._touch(message.worker)

    def _workers_changed(self, changes: Changes, reason: str) -> None:
        now_ms = self._now_ms()
        for info in changes.gone:
            self._silent.pop(info.worker, None)
            self._lost[info.worker] = Lost(info, reason, now_ms)
            self._touch(info.worker)
            self.notes.left(info.worker, reason, now_ms)
            self._known.discard(info.worker)
            if len(self._lost) > limits.LOST_WORKERS_MAX:
                self._unlist()
        for info in changes.came:
            self._lost.pop(info.worker, None)
            self._hold(info.worker, info.holds)
            self._touch(info.worker)
            if info.worker not in self._known:
                self._known.add(info.worker)
                self.notes.joined(info, now_ms)

    def _hold(self, worker: str, holds: tuple[Hold, ...]) -> None:
        for hold in holds:
            known = self._given.get(hold.job_id)
            if (hold.job_id, hold.attempt) in self._ended:
                continue
            self._given[hold.job_id] = Given(
                job_id=hold.job_id,
                attempt=hold.attempt,
                worker=worker,
                partition=None if known is None else known.partition,
                pipeline=hold.pipeline,
                name=hold.name,
                expected=hold.expected,
                run_id=None if known is None else known.run_id,
                started_ms=hold.started_ms,
                tried=0 if known is None else known.tried,
                tries=0 if known is None else known.tries,
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

    def _touch(self, worker: str) -> None:
        if self.listening:
            self._dirty.add(worker)

    def _mark(self, run_id: int | None, job_id: int) -> None:
        if self.listening:
            self.marks.mark(run_id, job_id, self._now)
