"""Decides, as the classical policies do, into which worker's queue a job goes when it is ready."""

import bisect
import random
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.balancer.lanes import Chooser, LanePlay, ObservedLane
from control.core.balancer.estimates import Estimates
from control.core.simulation.workload import Farm, Played, PlayedJob

SLOW_S: Final = 30.0  # Ylem's own threshold.
_SLOW_SHARE: Final = 0.6
_TOKENS_MAX_S: Final = 3600.0
_RUNS: Final = 5  # Ylem looks at the last five runs of a pipeline,
_QUANTILE: Final = 0.8  # and at this quantile of their durations.


class _Blind:
    """Looks at nothing that ends."""

    def __init__(self, lanes: LanePlay, chance: random.Random) -> None:
        self.jobs = lanes.jobs
        self.lanes: Sequence[ObservedLane] = lanes.lanes
        self.count = len(lanes.lanes)
        self.chance = chance

    def ended(self, place: int, lane: int, seconds: float) -> None:
        """Nothing is learned."""


class AtRandom(_Blind):
    """Any lane."""

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """One by chance."""
        return int(self.chance.random() * self.count)


class RoundRobin(_Blind):
    """One lane after the other."""

    _last = -1

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """The next one."""
        self._last = (self._last + 1) % self.count
        return self._last


class Hashed(_Blind):
    """A pipeline's jobs all go to one lane, as messages of one key do."""

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """Its pipeline's."""
        return zlib.crc32(self.jobs[place].pipeline.encode()) % self.count


class _Counting(_Blind):
    """Knows how many jobs each lane has that are not over."""

    def __init__(self, lanes: LanePlay, chance: random.Random) -> None:
        super().__init__(lanes, chance)
        self.outstanding = [0] * self.count

    def ended(self, place: int, lane: int, seconds: float) -> None:  # noqa: ARG002
        """One less."""
        self.outstanding[lane] -= 1

    def fewest(self, among: Sequence[int]) -> int:
        """The lane with the fewest of these, by chance where they are equal; counted."""
        outstanding = self.outstanding
        least = min([outstanding[lane] for lane in among])
        found = [lane for lane in among if outstanding[lane] == least]
        lane = found[int(self.chance.random() * len(found))]
        outstanding[lane] += 1
        return lane


class PowerOfTwo(_Counting):
    """The shorter one of two queues."""

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """The one with fewer jobs of two lanes taken by chance."""
        first = int(self.chance.random() * self.count)
        second = (first + 1 + int(self.chance.random() * (self.count - 1))) % self.count
        return self.fewest((first, second))


class ShortestQueue(_Counting):
    """Join the shortest queue."""

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """The one with the fewest jobs."""
        return self.fewest(range(self.count))


class LeastExpectedWork(_Blind):
    """The lane whose jobs are expected to take least, by the mean that our estimates learn."""

    def __init__(self, lanes: LanePlay, chance: random.Random) -> None:
        super().__init__(lanes, chance)
        self._estimates = Estimates()
        self._work = [0.0] * self.count
        self._counted: dict[int, float] = {}

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """The least loaded one."""
        job = self.jobs[place]
        expected = self._counted[place] = self._estimates.expected((job.pipeline, job.name))
        work = self._work
        lane = work.index(min(work))
        work[lane] += expected
        return lane

    def ended(self, place: int, lane: int, seconds: float) -> None:
        """Its work is done, and its duration known."""
        job = self.jobs[place]
        self._work[lane] -= self._counted.pop(place)
        self._estimates.learn((job.pipeline, job.name), seconds)


class LeastWorkLeft(_Blind):
    """The lane with the least work left, as if all durations were known."""

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """The one that has least to do."""
        left = [lane.left_s(now) for lane in self.lanes]
        return left.index(min(left))


class SizeIntervals(_Blind):
    """SITA-E: each lane takes the jobs of one interval of sizes, with equal work in each."""

    def __init__(self, lanes: LanePlay, chance: random.Random) -> None:
        super().__init__(lanes, chance)
        sizes = sorted(job.seconds for job in self.jobs)
        share, below = sum(sizes) / sum(lanes.farm.slots), 0.0
        limits = [sum(lanes.farm.slots[: lane + 1]) * share for lane in range(self.count)]
        self._cuts: list[float] = []
        for size in sizes:
            below += size
            while len(self._cuts) < self.count - 1 and below > limits[len(self._cuts)]:
                self._cuts.append(size)

    def choose(self, place: int, now: float) -> int:  # noqa: ARG002
        """The lane of its size."""
        return bisect.bisect_left(self._cuts, self.jobs[place].seconds)


class _Ylem(_Counting, ABC):
    """Estimates a run by its pipeline's last ones, and keeps all jobs of a run in one lane."""

    def __init__(self, lanes: LanePlay, chance: random.Random) -> None:
        super().__init__(lanes, chance)
        self._last: dict[str, deque[float]] = {}
        self._sums: dict[int, float] = {}
        self._lane_of: dict[int, int] = {}
        self._left: dict[int, int] = {}
        for job in self.jobs:
            self._left[job.run] = self._left.get(job.run, 0) + 1

    def expected_s(self, place: int) -> float:
        """The 0.8 quantile of the last five runs; as long as slow ones take if none is known."""
        known = self._last.get(self.jobs[place].pipeline)
        if not known:
            return SLOW_S
        ordered = sorted(known)
        at = _QUANTILE * (len(ordered) - 1)
        low = int(at)
        above = ordered[min(low + 1, len(ordered) - 1)]
        return ordered[low] + (at - low) * (above - ordered[low])

    def choose(self, place: int, now: float) -> int:
        """The lane of its run."""
        run = self.jobs[place].run
        lane = self._lane_of.get(run)
        if lane is None:
            lane = self._lane_of[run] = self.choose_for_run(place, now)
        else:
            self.outstanding[lane] += 1
        return lane

    @abstractmethod
    def choose_for_run(self, place: int, now: float) -> int:
        """The lane of a run whose first job this is."""

    def ended(self, place: int, lane: int, seconds: float) -> None:
        """Remember how long the whole run took, when this was its last job."""
        super().ended(place, lane, seconds)
        job = self.jobs[place]
        self._sums[job.run] = self._sums.get(job.run, 0.0) + seconds
        self._left[job.run] -= 1
        if not self._left[job.run]:
            runs = self._last.setdefault(job.pipeline, deque(maxlen=_RUNS))
            runs.append(self._sums.pop(job.run))
            self._lane_of.pop(job.run, None)


class YlemAsDescribed(_Ylem):
    """60 % of the lanes are for slow runs, the others for fast ones; the fewest jobs of those."""

    def choose_for_run(self, place: int, now: float) -> int:  # noqa: ARG002
        """Of the lanes of its class the one with the fewest jobs."""
        cut = min(max(round(_SLOW_SHARE * self.count), 1), max(self.count - 1, 1))
        slow = self.expected_s(place) >= SLOW_S
        return self.fewest(range(cut) if slow else range(min(cut, self.count - 1), self.count))


class YlemAsCoded(_Ylem):
    """A bucket of seconds for each lane, refilled by time alone; no end is ever seen.

    Fast runs take the fullest bucket, slow ones the fullest after the first 40 %.
    """

    def __init__(self, lanes: LanePlay, chance: random.Random) -> None:
        super().__init__(lanes, chance)
        self._tokens = [_TOKENS_MAX_S] * self.count
        self._at_s = 0.0

    def choose_for_run(self, place: int, now: float) -> int:
        """By rank of the buckets, equal ones in any order."""
        passed, self._at_s = now - self._at_s, now
        tokens, chance = self._tokens, self.chance.random
        for lane, each in enumerate(self.lanes):
            tokens[lane] = min(tokens[lane] + passed * each.slots, _TOKENS_MAX_S)
        expected = self.expected_s(place)
        ranks = sorted((-tokens[lane], chance(), lane) for lane in range(self.count))
        skipped = round((1 - _SLOW_SHARE) * self.count) if expected >= SLOW_S else 0
        lane = ranks[min(skipped, self.count - 1)][2]
        tokens[lane] -= min(expected, _TOKENS_MAX_S)  # For the whole run, at once.
        self.outstanding[lane] += 1
        return lane


CLASSICAL: Final[Mapping[str, Callable[[LanePlay, random.Random], Chooser]]] = {
    "random": AtRandom,
    "round-robin": RoundRobin,
    "hash": Hashed,
    "power-of-two": PowerOfTwo,
    "shortest-queue": ShortestQueue,
    "least-expected-work": LeastExpectedWork,
    "least-work-left": LeastWorkLeft,
    "size-intervals": SizeIntervals,
    "ylem-described": YlemAsDescribed,
    "ylem-coded": YlemAsCoded,
}


def play_classical(name: str, jobs: Sequence[PlayedJob], farm: Farm, seed: int) -> Played:
    """What becomes of the jobs under this policy."""
    lanes = LanePlay(jobs, farm)
    return lanes.play(CLASSICAL[name](lanes, random.Random(f"{name} {seed}")))
