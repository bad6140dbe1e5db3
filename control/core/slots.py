"""Decides where a job may be placed: the free slots of workers, by the class of their partition.

A lane is one worker's slots in one partition. Late binding: a lane takes what it can start now,
plus, of jobs so short that a slot would stand idle for the round trip, just enough to cover it.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import Final

from control.model import limits
from control.model.messages import JobReady, LoadOfPartition, WorkerUp
from control.model.states import Speed

WINDOW_S: Final = 0.02  # Expected seconds of work a slot may have ahead: one round trip.
_HEAP_SLACK: Final = 64
Shape = tuple[str, str, tuple[str, ...]]
"""What a worker must be able to do: kind, version, labels."""


def shape_of(job: JobReady) -> Shape:
    """What this job asks of a worker."""
    return (job.kind, job.version, job.labels)


class Lane:
    """One worker's slots in one partition."""

    __slots__ = ("entry", "free", "partition", "slots", "speed", "worker")

    def __init__(self, worker: "Worker", partition: int, speed: Speed) -> None:
        self.worker = worker
        self.partition = partition
        self.speed = speed
        self.slots = 0
        self.free = 0  # Below zero: that many are prefetched.
        self.entry = 0  # Which entry in the heap of free lanes is the current one.


class Worker:
    """A connected worker and what has been placed with it.

    Its slots are those in partitions there are: none while its dispatcher has no partition.
    """

    __slots__ = ("_can", "ahead_s", "draining", "info", "lanes", "outstanding", "slots", "slow")

    def __init__(self, info: WorkerUp, classes: Sequence[Speed]) -> None:
        self.info = info
        self.draining = info.draining
        self.lanes: dict[int, Lane] = {}
        for partition in info.partitions:
            if not 0 <= partition < len(classes):
                continue
            lane = self.lanes.get(partition)
            if lane is None:
                lane = self.lanes[partition] = Lane(self, partition, classes[partition])
            lane.slots += 1
            lane.free += 1
        self.slots = sum(lane.slots for lane in self.lanes.values())
        self.outstanding = 0
        self.slow = 0  # Of those, how many hold a slot for longer than the window.
        self.ahead_s = 0.0  # Expected seconds of the outstanding jobs that do not.
        self._can: dict[Shape, bool] = {}

    def can(self, shape: Shape) -> bool:
        """Whether it has the kind in this version, and all the labels."""
        known = self._can.get(shape)
        if known is None:
            kind, version, labels = shape
            versions = dict(self.info.kinds).get(kind, ())
            known = version in versions and set(labels) <= set(self.info.labels)
            self._can[shape] = known
        return known

    def has_window(self, expected_s: float) -> bool:
        """Whether a job this short may wait at the worker for a slot to come free."""
        quick = self.slots - self.slow
        return (
            quick > 0
            and expected_s <= WINDOW_S
            and self.ahead_s + expected_s <= WINDOW_S * quick
            and self.outstanding < self.slots + limits.PREFETCH_JOBS_MAX
        )

    def emptiest(self) -> Lane | None:
        """Its lane with the most free slots; None: it has none."""
        return max(self.lanes.values(), key=lambda lane: lane.free, default=None)

    def take(self, lane: Lane, expected_s: float) -> None:
        """A job was placed in this lane."""
        lane.free -= 1
        self.outstanding += 1
        if expected_s > WINDOW_S:
            self.slow += 1
        else:
            self.ahead_s += expected_s

    def give(self, lane: Lane, expected_s: float) -> None:
        """A job placed in this lane is over."""
        lane.free += 1
        self.outstanding -= 1
        if expected_s > WINDOW_S:
            self.slow -= 1
        else:
            self.ahead_s = max(self.ahead_s - expected_s, 0.0) if self.outstanding else 0.0

    def overran(self, expected_s: float) -> None:
        """A job that was taken as a short one holds its slot for long."""
        self.slow += 1
        self.ahead_s = max(self.ahead_s - expected_s, 0.0)


class Slots:
    """All workers' lanes; finds the emptiest lane of a class."""

    def __init__(self, classes: Sequence[Speed]) -> None:
        self._classes = classes
        self.workers: dict[str, Worker] = {}
        self.total = 0
        self._lanes = 0
        # Emptiest first; entries that are out of date are dropped when they surface.
        self._free: dict[Speed, list[tuple[int, int, Lane]]] = {speed: [] for speed in Speed}
        self._seq = 0

    def add(self, info: WorkerUp) -> Worker:
        """A worker connected; its lanes are empty until `take`."""
        worker = Worker(info, self._classes)
        self.workers[info.worker] = worker
        self._lanes += len(worker.lanes)
        if not worker.draining:
            self.total += worker.slots
            for lane in worker.lanes.values():
                self.offer(lane)
        return worker

    def remove(self, name: str) -> None:
        """A worker is gone."""
        worker = self.workers.pop(name, None)
        if worker is not None:
            self._lanes -= len(worker.lanes)
            if not worker.draining:
                self.total -= worker.slots
            worker.draining = True  # Its entries in the heaps are void.

    def drain(self, name: str) -> None:
        """Place nothing more with this worker."""
        worker = self.workers.get(name)
        if worker is not None and not worker.draining:
            worker.draining = True
            self.total -= worker.slots

    def offer(self, lane: Lane) -> None:
        """The lane has (more) free slots."""
        if lane.free > 0 and not lane.worker.draining:
            self._seq += 1
            lane.entry = self._seq
            heap = self._free[lane.speed]
            heapq.heappush(heap, (-lane.free, self._seq, lane))
            if len(heap) > 2 * self._lanes + _HEAP_SLACK:
                heap[:] = [entry for entry in heap if entry[1] == entry[2].entry]
                heapq.heapify(heap)

    def free_lane(self, speed: Speed, shape: Shape) -> Lane | None:
        """The emptiest lane of the class whose worker can run the shape."""
        heap, unfit = self._free[speed], []
        found: Lane | None = None
        while (lane := self._peek(heap)) is not None:
            if lane.worker.can(shape):
                found = lane
                break
            unfit.append(heapq.heappop(heap))
        for entry in unfit:
            heapq.heappush(heap, entry)
        return found

    def window_lane(self, shape: Shape, expected_s: float) -> Lane | None:
        """A lane of the least loaded worker that may be sent a short job ahead of a free slot."""
        best: Worker | None = None
        for worker in self.workers.values():
            if (
                not worker.draining
                and worker.has_window(expected_s)
                and worker.can(shape)
                and (best is None or worker.ahead_s < best.ahead_s)
            ):
                best = worker
        return None if best is None else best.emptiest()

    def any_can(self, shape: Shape) -> bool:
        """Whether any connected worker could run the shape."""
        return any(worker.can(shape) for worker in self.workers.values())

    def _peek(self, heap: list[tuple[int, int, Lane]]) -> Lane | None:
        while heap:
            free, seq, lane = heap[0]
            if seq == lane.entry and -free == lane.free and not lane.worker.draining:
                return lane
            heapq.heappop(heap)
        return None


def loads(
    classes: Sequence[Speed],
    workers: Iterable[Worker],
    placed: Iterable[tuple[Lane, float, int]],
) -> list[LoadOfPartition]:
    """Each partition's load. `placed`: lane, expected seconds, and since when, of each job."""
    count = len(classes)
    slots, depth, expected = [0] * count, [0] * count, [0.0] * count
    names: list[set[str]] = [set() for _ in range(count)]
    oldest: list[int | None] = [None] * count
    for worker in workers:
        for at, lane in worker.lanes.items():
            slots[at] += lane.slots
            names[at].add(worker.info.worker)
    for lane, expected_s, placed_ms in placed:
        at = lane.partition
        depth[at] += 1
        expected[at] += expected_s
        first = oldest[at]
        oldest[at] = placed_ms if first is None else min(first, placed_ms)
    return [
        LoadOfPartition(
            partition=at,
            speed=classes[at],
            slots=slots[at],
            running=min(depth[at], slots[at]),
            depth=max(depth[at] - slots[at], 0),
            expected_s=expected[at],
            oldest_ms=oldest[at],
            workers=tuple(sorted(names[at])),
        )
        for at in range(count)
    ]
