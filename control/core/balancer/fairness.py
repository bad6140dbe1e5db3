"""Decides how far a greedy client's new job is put back among clients of equal priority.

docs/balancing.md, section 8: only queued work counts, never past use of idle capacity, and only
work that is not longer than the new job's own: longer work does not stand before it.
"""

import math
from typing import Final

FAIR_WEIGHT: Final = 10.0
"""Seconds of delay for a second that a client has queued beyond its due, on one slot."""
FAIR_SHARES: Final = 3.0
"""How many times the mean over all clients one may have queued before it is put back."""

FAIR_MAX_S: Final = 3600.0
"""How far a job is put back at most: nobody waits for ever."""

_BUCKETS: Final = 12
_SHORTEST_S: Final = 0.01
_RATIO: Final = 4.0
_EMPTY_S: Final = 1e-6  # What sums of floats leave behind when everything is gone.


class QueuedWork:
    """The expected seconds of work of one client that wait, by size."""

    __slots__ = ("jobs", "seconds")

    def __init__(self) -> None:
        self.jobs = 0
        self.seconds = [0.0] * _BUCKETS

    def add(self, bucket: int, expected_s: float, sign: int) -> None:
        """A job of this size came (1) or went (-1)."""
        self.jobs += sign
        left = self.seconds[bucket] + sign * expected_s
        self.seconds[bucket] = left if left > _EMPTY_S else 0.0

    def up_to(self, bucket: int) -> float:
        """All work of this size and below."""
        return sum(self.seconds[: bucket + 1])


class Fairness:
    """The queued work of all clients of one priority."""

    def __init__(self) -> None:
        self._clients: dict[str, QueuedWork] = {}
        self._all = QueuedWork()

    def delay_s(self, client: str, expected_s: float, slots: int) -> float:
        """How much later than it came a new job of this client counts as having come."""
        own = self._clients.get(client)
        active = len(self._clients) + (own is None)
        if own is None or active == 1:
            return 0.0
        bucket = bucket_of(expected_s)
        due = FAIR_SHARES * self._all.up_to(bucket) / active
        beyond = max(own.up_to(bucket) - due, 0.0)
        return min(FAIR_WEIGHT * beyond * (active - 1) / max(slots, 1), FAIR_MAX_S)

    def add(self, client: str, expected_s: float) -> None:
        """A job waits."""
        queued = self._clients.get(client)
        if queued is None:
            queued = self._clients[client] = QueuedWork()
        bucket = bucket_of(expected_s)
        queued.add(bucket, expected_s, 1)
        self._all.add(bucket, expected_s, 1)

    def remove(self, client: str, expected_s: float) -> None:
        """A job that was added, with the same seconds, waits no more."""
        bucket = bucket_of(expected_s)
        queued = self._clients[client]
        queued.add(bucket, expected_s, -1)
        self._all.add(bucket, expected_s, -1)
        if not queued.jobs:
            del self._clients[client]

    @property
    def clients(self) -> int:
        """How many have something waiting."""
        return len(self._clients)


def bucket_of(expected_s: float) -> int:
    """The size of a job, in steps of four."""
    if expected_s <= _SHORTEST_S:
        return 0
    return min(int(math.log(expected_s / _SHORTEST_S) / math.log(_RATIO)) + 1, _BUCKETS - 1)
