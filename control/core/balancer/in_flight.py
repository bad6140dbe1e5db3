"""Owns what is placed and has not ended: where each job is, and how many each client has."""

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from control.core.balancer.dedup import Owner
from control.core.balancer.estimates import Key
from control.core.balancer.slots import Lane
from control.model.states import Speed

T = TypeVar("T")

OVERRUN_EXPECTED_S: Final = 1.0  # Of a short job that has overrun; nothing better is known.


class Placed(msgspec.Struct):
    """A job that somebody has. `lane`: None while its dispatcher waits for its worker."""

    attempt: int
    key: Key
    client: str
    speed: Speed
    expected_s: float
    lane: Lane | None
    placed_ms: int
    put_back_s: float | None = None  # In the order, when it waited.
    run_id: int | None = None  # None: known from its dispatcher's announcement only.

    @property
    def owner(self) -> Owner | None:
        """Whose it is; None: that is not known."""
        return None if self.run_id is None else (self.run_id, *self.key)


class Outstanding:
    """All placed jobs by id, and what is counted of them."""

    def __init__(self) -> None:
        self.jobs: dict[int, Placed] = {}
        self.slow = 0
        self.expected_s = 0.0
        self.clients: dict[str, int] = {}
        self._workers: dict[str, dict[int, None]] = {}
        self._keys: dict[Key, int] = {}

    def add(self, job_id: int, placed: Placed) -> None:
        """A job was placed. One that was placed before must have been removed."""
        assert job_id not in self.jobs
        self.jobs[job_id] = placed
        self.clients[placed.client] = self.clients.get(placed.client, 0) + 1
        self._keys[placed.key] = self._keys.get(placed.key, 0) + 1
        self.slow += placed.speed == Speed.SLOW
        self.expected_s += placed.expected_s
        if placed.lane is not None:
            self._held_by(placed.lane)[job_id] = None

    def remove(self, job_id: int) -> Placed | None:
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
            self._let_go(placed.lane, job_id)
        return placed

    def move(self, job_id: int, lane: Lane | None) -> None:
        """It is in another lane now; None: nobody is known to have it."""
        placed = self.jobs[job_id]
        if placed.lane is not None:
            self._let_go(placed.lane, job_id)
        placed.lane = lane
        if lane is not None:
            self._held_by(lane)[job_id] = None

    def overran(self, job_id: int) -> None:
        """It takes far longer than expected."""
        placed = self.jobs[job_id]
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

    def of_worker(self, name: str) -> list[int]:
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

    def _held_by(self, lane: Lane) -> dict[int, None]:
        return self._workers.setdefault(lane.worker.info.worker, {})

    def _let_go(self, lane: Lane, job_id: int) -> None:
        name = lane.worker.info.worker
        held = self._workers[name]
        del held[job_id]
        if not held:
            del self._workers[name]


def _less(counts: dict[T, int], name: T) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]
