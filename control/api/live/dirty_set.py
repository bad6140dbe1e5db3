"""Decides which changed runs and jobs are read for those who listen, and in which portions.

Each that has not ended is looked at twice: soon, and once more when what its message said must be
stored. Newest first; what there is no room for waits for the next frame, and of too many the
oldest are dropped.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from control.model import limits
from control.model.numbers import JobId, RunId

_WATCHED_MAX: Final = limits.WATCH_RUNS_MAX * limits.EVENT_STREAMS_MAX
K = TypeVar("K", bound=int)
_NEVER: Final = 2**63 - 1


class WantedChanges(NamedTuple):
    """What those who listen want, all together. `new_above`: runs with a larger id are new."""

    watched: frozenset[RunId] = frozenset()
    all_runs: bool = False
    new_above: int = _NEVER
    jobs_of: frozenset[RunId] = frozenset()
    all_jobs: bool = False


class Taken(NamedTuple):
    """Ids to read now, and how many runs had to be left out."""

    runs: list[RunId]
    jobs: list[JobId]
    runs_more: int


class _Changed(Generic[K]):
    """Ids of one sort."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.fresh: dict[K, float] = {}  # When the last message of it was read.
        self.again: OrderedDict[K, float] = OrderedDict()
        self._dropped = 0

    def mark(self, key: K, now: float) -> None:
        self.fresh[key] = now
        if len(self.fresh) > 2 * self._most:  # Many at once: one by one would cost more.
            self._dropped += self._most
            self.fresh = dict(islice(self.fresh.items(), self._most, None))

    def take(self, now: float, most: int) -> list[K]:
        taken: list[K] = []
        while self.fresh and len(taken) < most:
            key, at = self.fresh.popitem()
            taken.append(key)
            self.again[key] = at
            self.again.move_to_end(key)
        while len(self.again) > self._most:
            self.again.popitem(last=False)
        while self.again and len(taken) < most:
            key, at = next(iter(self.again.items()))
            if at > now - limits.SETTLE_S:
                break
            del self.again[key]
            if key not in self.fresh:
                taken.append(key)
        return taken

    def settled(self, key: K) -> None:
        self.again.pop(key, None)

    def left_out(self) -> int:
        """How many were, since this was asked last."""
        dropped, self._dropped = self._dropped, 0
        return len(self.fresh) + dropped

    def clear(self) -> None:
        self.fresh.clear()
        self.again.clear()
        self._dropped = 0


class Marks:
    """What has changed, as far as somebody wants it."""

    def __init__(self) -> None:
        self.wanted = WantedChanges()
        self._watched = _Changed[RunId](_WATCHED_MAX)
        self._others = _Changed[RunId](limits.CHANGED_RUNS_MAX)
        self._jobs = _Changed[JobId](limits.CHANGED_JOBS_MAX)

    @property
    def waiting(self) -> bool:
        """Whether something has not been looked at."""
        return bool(self._watched.fresh or self._others.fresh or self._jobs.fresh)

    def mark(self, run_id: RunId | None, job_id: JobId, now: float) -> None:
        """Something was said of a job; None: its run is not known."""
        wanted = self.wanted
        if run_id is not None:
            if run_id in wanted.watched:
                self._watched.mark(run_id, now)
            elif run_id > wanted.new_above or wanted.all_runs:
                self._others.mark(run_id, now)
        if wanted.all_jobs or (wanted.jobs_of and (run_id is None or run_id in wanted.jobs_of)):
            self._jobs.mark(job_id, now)

    def want(self, runs: Iterable[RunId], now: float) -> None:
        """Somebody wants to see these, changed or not."""
        for run_id in runs:
            self._watched.mark(run_id, now)

    def take(self, now: float) -> Taken:
        """What to read now."""
        most = limits.CHANGED_RUNS_MAX
        runs = self._watched.take(now, most - limits.NEW_RUNS_MAX)
        room = most if self.wanted.all_runs else limits.NEW_RUNS_MAX
        runs += self._others.take(now, min(room, most - len(runs)))
        more = self._watched.left_out() + self._others.left_out()
        return Taken(runs, self._jobs.take(now, limits.CHANGED_JOBS_MAX), more)

    def settled(self, runs: Iterable[RunId], jobs: Iterable[JobId]) -> None:
        """These have ended, and need not be looked at once more."""
        for run_id in runs:
            self._watched.settled(run_id)
            self._others.settled(run_id)
        for job_id in jobs:
            self._jobs.settled(job_id)

    def put_back(self, taken: Taken, now: float) -> None:
        """These could not be read."""
        self.want(taken.runs, now)
        for job_id in taken.jobs:
            self._jobs.mark(job_id, now)

    def clear(self) -> None:
        """Nobody listens any more."""
        self.wanted = WantedChanges()
        for changed in (self._watched, self._others, self._jobs):
            changed.clear()
