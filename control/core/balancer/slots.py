"""Decides where a job may be placed: the free slots of workers, by the class of their partition.

A lane is one worker's slots in one partition. Late binding: a lane takes what it can start now,
plus, of jobs so short that a slot would stand idle for the round trip, just enough to cover it.
Stragglers (`core/balancer/stragglers.py`) are asked last, and only for what they cannot hurt.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final, Literal

from control.core.balancer.lazy_heap import Offers
from control.model import limits
from control.model.bus.messages import JobReady, WorkerUp
from control.model.states import Speed

WINDOW_S: Final = 0.02  # Expected seconds of work a slot may have ahead: one round trip.
_SLOT_WINDOW_S: Final = 2 * WINDOW_S  # The one that runs may be as long as the window itself.
LOSS_S: Final = 2.0  # What a job may take longer on a straggler, however short the queue.
_SHAPES_MAX: Final = 10_000
Shape = tuple[str, str, tuple[str, ...]]
"""What a worker must be able to do: kind, version, labels."""


Length = Literal["short", "fast", "slow"]
"""What jobs must have in common to fail alike when no slot is free."""


def length_of(expected_s: float, speed: Speed) -> Length:
    """Short enough for a window, or else as its class says."""
    return "short" if expected_s <= WINDOW_S else speed.value


def shape_of(job: JobReady) -> Shape:
    """What this job asks of a worker."""
    return (job.kind, job.version, job.labels)


class Lane:
    """One worker's slots in one partition."""

    __slots__ = ("entry", "free", "partition", "slots", "speed", "worker")

    def __init__(self, worker: "WorkerSlots", partition: int, speed: Speed) -> None:
        self.worker = worker
        self.partition = partition
        self.speed = speed
        self.slots = 0
        self.free = 0  # Below zero: that many are prefetched.
        self.entry = 0  # Its last offer.


class WorkerSlots:
    """A connected worker and what has been placed with it.

    Its slots are those in partitions there are: none while its dispatcher has no partition.
    """

    __slots__ = (
        "_can",
        "ahead_s",
        "draining",
        "entry",
        "info",
        "lanes",
        "outstanding",
        "slots",
        "slow",
        "slowness",
    )

    def __init__(self, info: WorkerUp, classes: Sequence[Speed]) -> None:
        self.info = info
        self.draining = not info.takes_new
        self.slowness = 1.0  # How many times as long it takes; above 1 it is a straggler.
        self.entry = 0  # The last offer of its window.
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
            if len(self._can) >= _SHAPES_MAX:
                self._can.clear()
            self._can[shape] = known
        return known

    @property
    def window_s(self) -> float:
        """Expected seconds of short jobs it may have at once, running or waiting for a slot."""
        return _SLOT_WINDOW_S * (self.slots - self.slow)

    def has_window(self, expected_s: float) -> bool:
        """Whether a job this short may wait at the worker for a slot to come free."""
        return (
            not self.draining
            and self.slowness <= 1
            and self.ahead_s + expected_s <= self.window_s
            and self.outstanding < self.slots + limits.PREFETCH_JOBS_MAX
        )

    def emptiest(self, speed: Speed | None = None) -> Lane | None:
        """Its lane with the most free slots, of this class if one is given; None: it has none."""
        lanes = (lane for lane in self.lanes.values() if speed in {None, lane.speed})
        return max(lanes, key=lambda lane: lane.free, default=None)

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
        self._slowness: Mapping[str, float] = {}
        self.workers: dict[str, WorkerSlots] = {}
        self.total = 0
        self.in_class = dict.fromkeys(Speed, 0)  # Slots by the class of their partition.
        numbers = count(1)
        self._free: dict[Speed, Offers[Lane]] = {speed: Offers(numbers) for speed in Speed}
        self._straggling: Offers[Lane] = Offers(numbers)
        self._windows: Offers[WorkerSlots] = Offers(count(1))
        self._can: dict[tuple[Shape, bool], bool] = {}  # What `any_can` found.

    def add(self, info: WorkerUp) -> WorkerSlots:
        """A worker connected; its lanes are empty until `take`."""
        worker = WorkerSlots(info, self._classes)
        worker.slowness = self._slowness.get(info.worker, 1.0)
        self.workers[info.worker] = worker
        if not worker.draining:
            self._count(worker, 1)
        self._can.clear()
        self.offer(worker)
        return worker

    def remove(self, name: str) -> None:
        """A worker is gone."""
        self.drain(name)
        self.workers.pop(name, None)
        self._can.clear()

    def drain(self, name: str) -> None:
        """Place nothing more with this worker."""
        worker = self.workers.get(name)
        if worker is not None and not worker.draining:
            worker.draining = True
            self._count(worker, -1)
            self._can.clear()
            self.offer(worker)

    def take(self, lane: Lane, expected_s: float) -> None:
        """A job is placed in this lane."""
        lane.worker.take(lane, expected_s)
        self._offer(lane)
        self._offer_window(lane.worker)

    def give(self, lane: Lane, expected_s: float) -> None:
        """A job placed in this lane is over."""
        lane.worker.give(lane, expected_s)
        self._offer(lane)
        self._offer_window(lane.worker)

    def overran(self, worker: WorkerSlots, expected_s: float) -> None:
        """A job that was taken as a short one holds its slot for long."""
        worker.overran(expected_s)
        self._offer_window(worker)

    def offer(self, worker: WorkerSlots) -> None:
        """What it has free may be another amount now."""
        for lane in worker.lanes.values():
            self._offer(lane)
        self._offer_window(worker)

    def divide(self, classes: Sequence[Speed]) -> None:
        """The partitions have other classes from now on."""
        self._classes = classes
        self.total, self.in_class = 0, dict.fromkeys(Speed, 0)
        for worker in self.workers.values():
            for lane in worker.lanes.values():
                lane.speed = classes[lane.partition]
            if not worker.draining:
                self._count(worker, 1)
            self.offer(worker)

    def slow_down(self, slowness: Mapping[str, float]) -> None:
        """These workers are stragglers now, by so much; no others are."""
        before, self._slowness = self._slowness, slowness
        self._can.clear()
        for name in {*before, *slowness}:
            worker = self.workers.get(name)
            if worker is not None:
                worker.slowness = slowness.get(name, 1.0)
                self.offer(worker)

    def free_lane(self, speed: Speed, shape: Shape) -> Lane | None:
        """The emptiest lane of the class whose worker can run the shape, and is none too slow."""
        return self._free[speed].first(lambda lane: lane.worker.can(shape))

    def straggling_lane(
        self, shape: Shape, expected_s: float, loss_s: float, speed: Speed | None
    ) -> Lane | None:
        """A straggler's free lane, where the job loses at most so many seconds.

        `speed`: in a partition of this class only.
        """
        return self._straggling.first(
            lambda lane: (
                expected_s * (lane.worker.slowness - 1) <= loss_s
                and speed in {None, lane.speed}
                and lane.worker.can(shape)
            )
        )

    def window_lane(self, shape: Shape, expected_s: float, speed: Speed | None) -> Lane | None:
        """A lane of the worker with the most room for short jobs ahead of a free slot."""
        roomiest = self._windows.first_of_all()
        if roomiest is None or roomiest.ahead_s + expected_s > roomiest.window_s:
            return None
        worker = self._windows.first(
            lambda worker: (
                worker.has_window(expected_s)
                and worker.can(shape)
                and (speed is None or worker.emptiest(speed) is not None)
            )
        )
        return None if worker is None else worker.emptiest(speed)

    def any_can(self, shape: Shape, *, well: bool = False) -> bool:
        """Whether any connected worker could run the shape; `well`: one that takes jobs and is no
        straggler.
        """
        found = self._can.get((shape, well))
        if found is None:
            if len(self._can) >= _SHAPES_MAX:
                self._can.clear()
            found = self._can[shape, well] = any(
                worker.can(shape) and not (well and (worker.draining or worker.slowness > 1))
                for worker in self.workers.values()
            )
        return found

    @property
    def healthy(self) -> int:
        """Slots of workers that are no stragglers."""
        slow = [self.workers[name] for name in self._slowness if name in self.workers]
        return self.total - sum(worker.slots for worker in slow if not worker.draining)

    @property
    def straggling(self) -> bool:
        """Whether a straggler has a free slot."""
        return self._straggling.first_of_all() is not None

    def _count(self, worker: WorkerSlots, sign: int) -> None:
        self.total += sign * worker.slots
        for lane in worker.lanes.values():
            self.in_class[lane.speed] += sign * lane.slots

    def _offer(self, lane: Lane) -> None:
        worker = lane.worker
        if lane.free <= 0 or worker.draining:
            lane.entry = 0
        elif worker.slowness > 1:
            self._straggling.offer(lane, worker.slowness)
        else:
            self._free[lane.speed].offer(lane, -lane.free)

    def _offer_window(self, worker: WorkerSlots) -> None:
        if worker.has_window(0.0) and worker.window_s > 0:
            self._windows.offer(worker, worker.ahead_s - worker.window_s)
        else:
            worker.entry = 0
