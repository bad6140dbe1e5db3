"""Owns early binding in virtual time: each job is put into a worker's queue when it is ready.

As with partitions of Kafka, what was put into the queue of a worker that is gone stays there, and
what it was running runs again once it is back. A message takes `delay_s` to the worker and back.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from bench.balancer.followers import arrivals_and_followers
from control.core.simulation.workload import Farm, Played, PlayedJob

_END: Final = 0
_FAULT: Final = 1
_READY: Final = 2
_CAME: Final = 3  # At the lane, where it may start or has to queue.


class ObservedLane:
    """A worker's slots, the queue before them, and what a perfect observer would know of both."""

    __slots__ = ("alive", "ends_s", "free", "queue", "running", "slots", "slowness", "waiting_s")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.free = slots
        self.queue: deque[int] = deque()
        self.running: dict[int, tuple[float, float]] = {}  # Place to begin and end.
        self.alive = True
        self.slowness = 1.0
        self.waiting_s = 0.0  # Of what is on its way or queued.
        self.ends_s = 0.0  # Sum of the ends of what runs.

    def left_s(self, now: float) -> float:
        """Seconds of work it has not done yet."""
        return self.waiting_s + self.ends_s - len(self.running) * now


class Chooser(Protocol):
    """A policy that binds early."""

    def choose(self, place: int, now: float) -> int:
        """The number of the lane for the job at this place."""

    def ended(self, place: int, lane: int, seconds: float) -> None:
        """This job ended after so long."""


class LanePlay:
    """Plays a workload once. `lanes` may be looked at by the chooser."""

    def __init__(self, jobs: Sequence[PlayedJob], farm: Farm) -> None:
        self.jobs = jobs
        self.farm = farm
        self.lanes = [ObservedLane(slots) for slots in farm.slots]
        self._ready = [0.0] * len(jobs)
        self._started = [0.0] * len(jobs)
        self._ended = [0.0] * len(jobs)
        self._lost_s = 0.0
        self._events: list[tuple[float, int, int, float]] = []
        self._next: dict[int, list[int]] = {}  # Place to the places that come after it.

    def play(self, chooser: Chooser) -> Played:
        """What becomes of all jobs."""
        jobs, events = self.jobs, self._events
        arrivals, self._next = arrivals_and_followers(jobs)
        for number, fault in enumerate(self.farm.faults):
            heapq.heappush(events, (fault.at_s, _FAULT, number, 0.0))
        at, count = 0, len(arrivals)
        while at < count or events:
            if at < count and (not events or jobs[arrivals[at]].at_s <= events[0][0]):
                place = arrivals[at]
                at += 1
                self._choose(chooser, place, jobs[place].at_s)
                continue
            now, kind, place, begun = heapq.heappop(events)
            if kind == _END:
                self._end(chooser, place, int(begun), now)
            elif kind == _CAME:
                lane = self.lanes[int(begun)]
                lane.queue.append(place)
                self._start(lane, int(begun), now)
            elif kind == _READY:
                self._choose(chooser, place, now)
            else:
                self._fault(place, now)
        return Played(
            ready=self._ready, started=self._started, ended=self._ended, lost_s=self._lost_s
        )

    def _choose(self, chooser: Chooser, place: int, now: float) -> None:
        self._ready[place] = now
        number = chooser.choose(place, now)
        self.lanes[number].waiting_s += self.jobs[place].seconds
        heapq.heappush(self._events, (now + self.farm.delay_s, _CAME, place, float(number)))

    def _start(self, lane: ObservedLane, number: int, now: float) -> None:
        while lane.free and lane.queue and lane.alive:
            place = lane.queue.popleft()
            seconds = self.jobs[place].seconds
            end = now + seconds * lane.slowness
            lane.free -= 1
            lane.running[place] = (now, end)
            lane.waiting_s -= seconds
            lane.ends_s += end
            self._started[place] = now
            heapq.heappush(self._events, (end, _END, place, float(number)))

    def _end(self, chooser: Chooser, place: int, number: int, now: float) -> None:
        lane = self.lanes[number]
        begun, end = lane.running.get(place, (0.0, -1.0))
        if end != now:
            return  # It was lost meanwhile, with its worker.
        del lane.running[place]
        lane.ends_s -= end
        lane.free += 1
        self._ended[place] = now
        chooser.ended(place, number, end - begun)
        for later in self._next.get(place, ()):
            heapq.heappush(self._events, (now + self.farm.delay_s, _READY, later, 0.0))
        self._start(lane, number, now)

    def _fault(self, place: int, now: float) -> None:
        fault = self.farm.faults[place]
        lane = self.lanes[fault.worker]
        lane.alive = fault.slowness is not None
        if fault.slowness is not None:
            lane.slowness = fault.slowness
            self._start(lane, fault.worker, now)
            return
        for again, (begun, _) in sorted(lane.running.items(), reverse=True):
            self._lost_s += now - begun
            lane.waiting_s += self.jobs[again].seconds
            lane.queue.appendleft(again)
        lane.running.clear()
        lane.ends_s = 0.0
        lane.free = lane.slots
