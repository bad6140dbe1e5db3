"""Owns what is placed and has not ended: which worker's lane each job holds, and all counts of it.

Whatever changes here takes slots or gives them back in the same step, as jobs are placed and end,
and as workers come, change, and go.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from control.core.balancer.dedup import Owner
from control.core.balancer.estimates import Key
from control.core.balancer.slots import WINDOW_S, Lane, Slots
from control.model.bus.messages import Hold, WorkerUp
from control.model.numbers import JobId, RunId
from control.model.states import Speed

T = TypeVar("T")

OVERRUN_EXPECTED_S: Final = 1.0  # Of a short job that has overrun; nothing better is known.


class InFlightJob(msgspec.Struct):
    """A job that somebody has. `lane`: None while its dispatcher waits for its worker."""

    attempt: int
    key: Key
    client: str
    speed: Speed
    expected_s: float
    lane: Lane | None
    placed_ms: int
    put_back_s: float | None = None  # In the order, when it waited.
    run_id: RunId | None = None  # None: known from its dispatcher's announcement only.

    @property
    def owner(self) -> Owner | None:
        """Whose it is; None: that is not known."""
        return None if self.run_id is None else (self.run_id, *self.key)


class InFlight:
    """All placed jobs by id, and what is counted of them; `slots` are in step with it."""

    def __init__(self, slots: Slots, is_over: Callable[[Hold], bool]) -> None:
        """`is_over`: whether what a dispatcher reports that a worker holds is old news."""
        self._slots = slots
        self._is_over = is_over
        self.jobs: dict[JobId, InFlightJob] = {}
        self.slow = 0
        self.expected_s = 0.0
        self.clients: dict[str, int] = {}
        self._workers: dict[str, dict[JobId, None]] = {}
        self._keys: dict[Key, int] = {}

    def add(self, job_id: JobId, placed: InFlightJob) -> None:
        """A job was placed, in a lane if one is known. It must not be placed already."""
        assert job_id not in self.jobs
        self.jobs[job_id] = placed
        self.clients[placed.client] = self.clients.get(placed.client, 0) + 1
        self._keys[placed.key] = self._keys.get(placed.key, 0) + 1
        self.slow += placed.speed == Speed.SLOW
        self.expected_s += placed.expected_s
        if placed.lane is not None:
            self._enter(placed.lane, job_id, placed)

    def remove(self, job_id: JobId) -> InFlightJob | None:
        """It ended or came back; None: nobody knew that it was placed."""
        placed = self.jobs.pop(job_id, None)
        if placed is None:
            return None
        _less(self.clients, placed.client)
        _less(self._keys, placed.key)
        self.slow -= placed.speed == Speed.SLOW
        # Sums of floats leave something behind, which must not pile up.
        self.expected_s = max(self.expected_s - placed.expected_s, 0.0) if self.jobs else 0.0
        if placed.lane is not None:
            self._leave(placed.lane, job_id)
            self._slots.give(placed.lane, placed.expected_s)
        return placed

    def connect(self, info: WorkerUp) -> None:
        """A worker connected or changed; what it holds counts as placed with it."""
        self._slots.remove(info.worker)
        worker = self._slots.add(info)
        first = next(iter(worker.lanes.values()), None)
        for job_id in self.of_worker(info.worker):
            lane = self.jobs[job_id].lane
            assert lane is not None
            self._leave(lane, job_id)  # Of a worker as it was: nothing is to be given back.
            self._move(job_id, worker.lanes.get(lane.partition, first))
        for hold in info.holds:
            if self._is_over(hold):
                continue
            held = self.jobs.get(hold.job_id)
            if held is None:
                self.add(hold.job_id, _held(hold, worker.emptiest()))
            elif held.lane is None:
                self._move(hold.job_id, worker.emptiest())

    def adrift(self, hold: Hold) -> None:
        """A dispatcher has a lease for a worker that is not there."""
        if hold.job_id not in self.jobs and not self._is_over(hold):
            self.add(hold.job_id, _held(hold, None))

    def overran(self, name: str, job_ids: Iterable[JobId]) -> None:
        """These jobs of a worker take far longer than expected: each holds its slot to its end."""
        worker = self._slots.workers.get(name)
        for job_id in job_ids:
            placed = self.jobs.get(job_id)
            if worker is None or placed is None or placed.expected_s > WINDOW_S:
                continue
            if placed.lane is not None and placed.lane.worker is worker:
                self._slots.overran(worker, placed.expected_s)
                self.expected_s += OVERRUN_EXPECTED_S - placed.expected_s
                placed.expected_s = OVERRUN_EXPECTED_S

    def keys(self) -> list[Key]:
        """The keys of all placed jobs."""
        return list(self._keys)

    def reclassify(self, speeds: Mapping[Key, Speed]) -> None:
        """Running jobs are what their names are found to be now: slow ones hold slots for long."""
        for placed in self.jobs.values():
            placed.speed = speeds.get(placed.key, placed.speed)
        self.slow = sum(placed.speed == Speed.SLOW for placed in self.jobs.values())

    def of_worker(self, name: str) -> list[JobId]:
        """The jobs that were placed with a worker of this name."""
        return list(self._workers.get(name, ()))

    def of_key(self, key: Key) -> int:
        """How many jobs of this key are placed."""
        return self._keys.get(key, 0)

    def in_lanes(self) -> Iterator[tuple[Lane, float, int]]:
        """Lane, expected seconds, and since when, of each job that has a lane."""
        for placed in self.jobs.values():
            if placed.lane is not None:
                yield placed.lane, placed.expected_s, placed.placed_ms

    def _move(self, job_id: JobId, lane: Lane | None) -> None:
        """It has no lane, and gets this one; None: nobody is known to have it."""
        placed = self.jobs[job_id]
        placed.lane = lane
        if lane is not None:
            self._enter(lane, job_id, placed)

    def _enter(self, lane: Lane, job_id: JobId, placed: InFlightJob) -> None:
        self._workers.setdefault(lane.worker.info.worker, {})[job_id] = None
        self._slots.take(lane, placed.expected_s)

    def _leave(self, lane: Lane, job_id: JobId) -> None:
        name = lane.worker.info.worker
        held = self._workers[name]
        del held[job_id]
        if not held:
            del self._workers[name]


def _held(hold: Hold, lane: Lane | None) -> InFlightJob:
    """What is known of a job from its dispatcher's announcement."""
    key, placed_ms = (hold.pipeline, hold.name), hold.started_ms or 0
    return InFlightJob(hold.attempt, key, hold.client, hold.speed, hold.expected, lane, placed_ms)


def _less(counts: dict[T, int], name: T) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]
