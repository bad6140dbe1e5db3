"""Owns what the API reads from the bus: who works, what happened lately, and what has changed."""

import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import trio

from control.api.live.activity import Notes, Pulses
from control.api.live.assigned_job import show_given
from control.api.live.dirty_set import Marks
from control.api.live.worker_registry import Crew
from control.api.metrics import Metrics
from control.bus.interface import Bus
from control.bus.tailing import Followed, follow
from control.model.api.balancer import LoadOfPartition
from control.model.api.fleet import (
    PartitionView,
    PartitionWithJobs,
    RunningView,
    show_partition,
)
from control.model.bus.child_messages import ChildEnded, StartChild
from control.model.bus.messages import (
    Announce,
    CancelJob,
    DispatcherUp,
    Finished,
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
from control.model.bus.records import Record
from control.model.names import Service, Topic
from control.model.numbers import JobId, RunId
from control.model.states import Outcome

_TOPICS: Final = (
    Topic.TASK_RUNS,
    Topic.TASK_RUNS_LOAD_BALANCED,
    Topic.TASK_RUN_EVENTS,
    Topic.TASK_RUN_RESULTS,
    Topic.TASK_COMMANDS,
    Topic.TASK_NEWS,
)


class Live:
    """What goes on now. Written by its own tasks, read by the calls; nothing here blocks."""

    def __init__(self, bus: Bus, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._bus = bus
        self._metrics = metrics
        self._now_ms = now_ms
        self.pulses = Pulses(now_ms())
        self.notes = Notes(now_ms())
        self.crew = Crew(self.notes, now_ms)
        self._listening = False
        self.marks = Marks()  # Only while somebody listens.
        self.changes = 0  # Grows with all that is read.
        self.gaps = 0  # How often messages were missed.
        self._now = 0.0
        self._woken = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for topic in _TOPICS:
                nursery.start_soon(
                    self._read, await follow(self._bus, topic, "live", self._resynchronise)
                )
            await self._announce()
            task_status.started()

    def changed(self) -> trio.Event:
        """Set by the next change; get it before looking, wait after."""
        return self._woken

    def listen(self) -> None:
        """Somebody listens, and has to be told what changes."""
        self._listening = self.crew.listening = True

    def forget_changes(self) -> None:
        """Nobody listens any more."""
        self._listening = False
        self.marks.clear()
        self.crew.forget_changes()

    def roll(self) -> None:
        """End what is over: pulses, and seconds of too many notes."""
        now_ms = self._now_ms()
        self.pulses.roll(now_ms, self.crew.running)
        self.notes.roll(now_ms)

    def partitions(self, loads: Iterable[LoadOfPartition]) -> list[PartitionView]:
        """Partitions as they are shown."""
        now_ms, heads = self._now_ms(), self.crew.heads()
        return [self._partition(load, heads.get(load.partition), now_ms) for load in loads]

    def partition(self, load: LoadOfPartition) -> PartitionWithJobs:
        """A partition with what was placed in it: what runs, by its start, then what is ahead."""
        given = self.crew.given_in(load.partition)
        given.sort(key=lambda each: math.inf if each.started_ms is None else each.started_ms)
        jobs = [show_given(each) for each in given]
        head = jobs[0] if given and given[0].started_ms is not None else None
        shown = self._partition(load, head, self._now_ms())
        return PartitionWithJobs(**msgspec.structs.asdict(shown), jobs=jobs)

    def _partition(
        self, load: LoadOfPartition, head: RunningView | None, now_ms: int
    ) -> PartitionView:
        return show_partition(load, head, now_ms, self.pulses.per_minute(load.partition))

    async def _announce(self) -> None:
        await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.API))])

    async def _resynchronise(self) -> None:
        self.gaps += 1
        self.crew.forget_given()
        await self._announce()

    async def _read(self, topic: Followed) -> None:
        while True:
            messages = await topic.receive()
            self.roll()
            self._now = trio.current_time()
            for message in messages:
                self._take(message)
            self.changes += 1
            self._woken.set()
            self._woken = trio.Event()

    def _take(self, message: Message) -> None:
        match message:
            case Finished():
                self._finish(message)
            case Placed():
                self.pulses.placed(message.partition)
                self.crew.placed(message)
            case Started():
                self.crew.started(message)
                self._mark(message.run_id, message.job_id)
            case JobReady():
                self.crew.ready(message)
                self._mark(message.run_id, message.job_id)
            case Progressed() | StartChild() | ChildEnded():
                self._mark(message.run_id, message.job_id)
            case Skipped():
                if self.crew.ended(message.job_id, message.attempt):
                    self.pulses.skipped()
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
                self.crew.worker_up(message)
            case WorkerDown():
                self.crew.worker_down(message)
            case WorkerQuiet():
                self.crew.quiet(message)
            case DispatcherUp():
                self.crew.dispatcher_up(message)
            case _:
                pass

    def _finish(self, message: Finished) -> None:
        tries = self.crew.tries(message)
        # A job that was cancelled while an attempt was on its way has two ends; the first counts.
        if self.crew.ended(message.job_id, message.attempt):
            self._metrics.finished(message)
            self.pulses.finished(message)
            if message.outcome != Outcome.DONE:
                self.notes.finished(message, *tries)
        self._mark(message.run_id, message.job_id)

    def _mark(self, run_id: RunId | None, job_id: JobId) -> None:
        if self._listening:
            self.marks.mark(run_id, job_id, self._now)
