"""Owns the central queues that bound what any policy can reach: bound to a slot when one is free.

Without delay and without a reserve. What a worker had when it went waits again after `grace_s`.
"""

import heapq
from collections.abc import Sequence
from typing import Final

from bench.balancer.followers import arrivals_and_followers
from control.core.simulation.workload import Farm, Played, PlayedJob

AGE_WEIGHT: Final = 200.0  # Seconds of waiting that weigh as much as a second of length.
_END: Final = 0
_FAULT: Final = 1
_READY: Final = 2


class _Central:
    """A queue in the order of a key, and all slots, the quickest worker first."""

    def __init__(self, jobs: Sequence[PlayedJob], farm: Farm, lengths: Sequence[float]) -> None:
        self._jobs = jobs
        self._farm = farm
        self._lengths = lengths
        self._queue: list[tuple[float, int]] = []
        self._events: list[tuple[float, int, int, int]] = []
        workers = range(len(farm.slots))
        self._freed = 0
        # Which first, and whose. Without lengths nothing is known of workers either: any slot.
        self._free: list[tuple[float, int]] = []
        self._slowness: list[float | None] = [1.0 for _ in workers]
        self._running: list[dict[int, tuple[float, float]]] = [{} for _ in workers]
        self._ready = [0.0] * len(jobs)
        self._started = [0.0] * len(jobs)
        self._ended = [0.0] * len(jobs)
        self._lost_s = 0.0
        for worker in workers:
            self._offer(worker, 1.0, farm.slots[worker])

    def play(self) -> Played:
        jobs, events, queue = self._jobs, self._events, self._queue
        arrivals, after = arrivals_and_followers(jobs)
        for number, fault in enumerate(self._farm.faults):
            heapq.heappush(events, (fault.at_s, _FAULT, number, 0))
        at, count = 0, len(arrivals)
        while at < count or events:
            if at < count and (not events or jobs[arrivals[at]].at_s <= events[0][0]):
                place = arrivals[at]
                at += 1
                now = self._ready[place] = jobs[place].at_s
                heapq.heappush(queue, (self._key(place), place))
            else:
                now, kind, place, worker = heapq.heappop(events)
                if kind == _END:
                    if not self._end(place, worker, now):
                        continue
                    for later in after.get(place, ()):
                        self._ready[later] = now
                        heapq.heappush(queue, (self._key(later), later))
                elif kind == _READY:
                    heapq.heappush(queue, (self._key(place), place))
                else:
                    self._fault(place, now)
            while queue and self._free:
                self._start(heapq.heappop(queue)[1], heapq.heappop(self._free)[1], now)
        return Played(
            ready=self._ready, started=self._started, ended=self._ended, lost_s=self._lost_s
        )

    def _key(self, place: int) -> float:
        job = self._jobs[place]
        if not self._lengths:
            return self._ready[place]
        return job.arrival_s + AGE_WEIGHT * self._lengths[place] * job.stages_left

    def _start(self, place: int, worker: int, now: float) -> None:
        slowness = self._slowness[worker]
        assert slowness is not None  # The slots of who is gone are not among the free ones.
        end = now + self._jobs[place].seconds * slowness
        self._started[place] = now
        self._running[worker][place] = (now, end)
        heapq.heappush(self._events, (end, _END, place, worker))

    def _end(self, place: int, worker: int, now: float) -> bool:
        if self._running[worker].get(place, (0.0, -1.0))[1] != now:
            return False  # It was lost meanwhile, with its worker.
        del self._running[worker][place]
        self._ended[place] = now
        slowness = self._slowness[worker]
        if slowness is not None:
            self._offer(worker, slowness, 1)
        return True

    def _offer(self, worker: int, slowness: float, slots: int) -> None:
        for _ in range(slots):
            self._freed += 1
            heapq.heappush(self._free, (slowness if self._lengths else self._freed, worker))

    def _fault(self, number: int, now: float) -> None:
        fault = self._farm.faults[number]
        worker = fault.worker
        self._slowness[worker] = fault.slowness
        self._free = [entry for entry in self._free if entry[1] != worker]
        heapq.heapify(self._free)
        running = self._running[worker]
        if fault.slowness is None:
            for place, (begun, _) in running.items():
                self._lost_s += now - begun
                heapq.heappush(self._events, (now + self._farm.grace_s, _READY, place, 0))
            running.clear()
        else:
            self._offer(worker, fault.slowness, self._farm.slots[worker] - len(running))


def play_fifo(jobs: Sequence[PlayedJob], farm: Farm) -> Played:
    """First come, first served."""
    return _Central(jobs, farm, ()).play()


def play_by_length(jobs: Sequence[PlayedJob], farm: Farm, lengths: Sequence[float]) -> Played:
    """Short ones first, aged: by the true index of their pipeline, or by their own size."""
    return _Central(jobs, farm, lengths).play()


class _Running:
    """What runs preemptively: found by the first end and by the last."""

    def __init__(self) -> None:
        self.ends: dict[int, float] = {}
        self._first: list[tuple[float, int]] = []
        self._last: list[tuple[float, int]] = []

    def start(self, place: int, end: float) -> None:
        self.ends[place] = end
        heapq.heappush(self._first, (end, place))
        heapq.heappush(self._last, (-end, place))

    def first(self) -> tuple[float, int] | None:
        """The next end; None: nothing runs."""
        while self._first and self.ends.get(self._first[0][1]) != self._first[0][0]:
            heapq.heappop(self._first)
        return self._first[0] if self._first else None

    def last(self) -> tuple[float, int]:
        """The last end, of something that runs."""
        while self.ends.get(self._last[0][1]) != -self._last[0][0]:
            heapq.heappop(self._last)
        return -self._last[0][0], self._last[0][1]


def play_srpt(jobs: Sequence[PlayedJob], farm: Farm) -> Played:
    """Always what has the least left, on as many slots as work; nothing is lost by an interruption.

    A start is given as the end less the size: what a job did not wait, it was served. Slots of
    slow workers count by the share of a slot that they do.
    """
    arrivals, after = arrivals_and_followers(jobs)
    ready, ended = [0.0] * len(jobs), [0.0] * len(jobs)
    waiting: list[tuple[float, int]] = []
    running = _Running()
    slots = farm.total
    changes = _capacities(farm)
    events: list[tuple[float, int]] = [(jobs[place].at_s, place) for place in reversed(arrivals)]
    while events or waiting or running.ends:
        first = running.first()
        now = first[0] if first is not None else float("inf")
        if changes and changes[-1][0] <= min(now, events[-1][0] if events else float("inf")):
            now, slots = changes.pop()
        elif events and events[-1][0] <= now:
            now, place = events.pop()
            ready[place] = now
            heapq.heappush(waiting, (jobs[place].seconds, place))
        elif first is not None:
            place = first[1]
            del running.ends[place]
            ended[place] = now
            for later in after.get(place, ()):
                ready[later] = now
                heapq.heappush(waiting, (jobs[later].seconds, later))
        else:
            break  # No slot is left, and none comes back.
        while len(running.ends) > slots:
            _interrupt(running, waiting, now)
        while waiting and slots:
            if len(running.ends) >= slots:
                if running.last()[0] - now <= waiting[0][0]:
                    break
                _interrupt(running, waiting, now)
            left, place = heapq.heappop(waiting)
            running.start(place, now + left)
    begun = [end - job.seconds for end, job in zip(ended, jobs, strict=True)]
    return Played(ready=ready, started=begun, ended=ended)


def _interrupt(running: _Running, waiting: list[tuple[float, int]], now: float) -> None:
    end, place = running.last()
    del running.ends[place]
    heapq.heappush(waiting, (end - now, place))


def _capacities(farm: Farm) -> list[tuple[float, int]]:
    """When how many slots work, the last change first."""
    speeds = [1.0] * len(farm.slots)
    found = []
    for fault in sorted(farm.faults, key=lambda fault: fault.at_s):
        speeds[fault.worker] = 0.0 if fault.slowness is None else 1 / fault.slowness
        total = sum(speed * slots for speed, slots in zip(speeds, farm.slots, strict=True))
        found.append((fault.at_s, round(total)))
    return found[::-1]
