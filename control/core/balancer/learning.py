"""Decides what the end of a job teaches: of its length, its class, its worker, and the mix."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from control.core.balancer.classes import Classes
from control.core.balancer.estimates import Estimates, Key
from control.core.balancer.slots import Length, length_of
from control.core.balancer.slow_threshold import Threshold
from control.core.balancer.split import PartitionSplit
from control.core.balancer.stragglers import StragglerDetector
from control.model.bus.messages import Finished
from control.model.states import Speed

PROBE_S: Final = 1.0
"""By what the first job of an unknown key is ordered: it is worth knowing soon."""

_LOOK_EVERY: Final = 32  # Ends between two looks at the mix; as many as keys, if that is more.
_MOVED: Final = 1.05  # A threshold that moved by less is not worth looking at all that wait.
_REST_SHARE: Final = 4  # Of the keys: so many ends pass before all that wait are looked at again.
_UNKNOWN: Final = ("", "")


class Lesson(NamedTuple):
    """What is other than before: who is a straggler, the job's length, the partitions' classes;
    `others`: perhaps the length of other jobs, of unknown ones or by the threshold.
    """

    stragglers: bool
    length: bool
    classes: bool
    others: bool


class Learning:
    """All that is learned from ends; `split` may follow it."""

    def __init__(self, estimates: Estimates, threshold: Threshold, split: PartitionSplit) -> None:
        self.estimates = estimates
        self.threshold = threshold
        self.classes = Classes(estimates, threshold)
        self._health = StragglerDetector()
        self._split = split
        self._ends_left = _LOOK_EVERY
        # What was so when all that wait were looked at last, and for how many ends they are not.
        self._heeded_s = threshold.seconds
        self._heeded_unknown = self.length(_UNKNOWN)
        self._rest = 0

    @property
    def slowness(self) -> Mapping[str, float]:
        """Stragglers, and how many times as long they take."""
        return self._health.slowness

    def forget_worker(self, name: str) -> None:
        """It is gone."""
        self._health.forget(name)

    def speed(self, key: Key, expected_s: float) -> Speed:
        """The class of a job of this key."""
        return self.classes.speed(key, expected_s)

    def length(self, key: Key) -> Length:
        """The length of the jobs of this key."""
        expected_s = self.estimates.expected(key)
        return length_of(expected_s, self.speed(key, expected_s))

    def index(self, key: Key, placed: Callable[[Key], int]) -> float:
        """The length a key is ordered by, in seconds; `placed`: how many jobs of it are placed.

        Of an unknown one, one job at a time goes first.
        """
        index = self.estimates.index(key)
        if index is not None:
            return index
        expected_s = self.estimates.expected(key)
        return expected_s if placed(key) else min(expected_s, PROBE_S)

    def look(self) -> bool:
        """Look at the mix of what ended lately; True: the partitions' classes are others now."""
        samples = self.estimates.samples()
        self._ends_left = max(_LOOK_EVERY, len(samples))
        self.threshold.update(samples)
        return self._split.follow(samples, self.threshold.seconds)

    def done(self, message: Finished, now_ms: int, *, connected: bool, waiting_keys: int) -> Lesson:
        """A job was done; `connected`: its worker still is. `waiting_keys`: keys of what waits."""
        key, seconds = (message.pipeline, message.name), message.duration_seconds
        deviation = self.estimates.deviation(key, seconds)
        stragglers = (
            deviation is not None
            and connected
            and self._health.ended(message.worker, *deviation, now_ms)
        )
        before = self.length(key)
        self.estimates.learn(key, seconds / self.slowness.get(message.worker, 1.0))
        self.classes.learned(key, now_ms)
        self._ends_left -= 1
        classes = self._ends_left <= 0 and self.look()
        self._rest -= 1
        others = self._rest <= 0 and self.is_unheeded
        if others:
            self.heed(waiting_keys)
        return Lesson(stragglers, self.length(key) != before, classes, others)

    @property
    def is_unheeded(self) -> bool:
        """Whether what waits may have other classes than when all of it was looked at last."""
        return (
            self.length(_UNKNOWN) != self._heeded_unknown
            or not 1 / _MOVED < self.threshold.seconds / self._heeded_s < _MOVED
        )

    def heed(self, waiting_keys: int) -> None:
        """All that waits is looked at now; not again for as many ends as that costs."""
        self._heeded_s, self._heeded_unknown = self.threshold.seconds, self.length(_UNKNOWN)
        self._rest = waiting_keys // _REST_SHARE  # It costs as much as there are keys.
