"""Decides how long a job is expected to take, from how long it took before.

docs/balancing.md, section 4: a ring of the last durations of each key (pipeline and job name),
pulled towards a prior over all keys while there are few. `expected` is the mean, `index` the length
that orders jobs (square root of E[S] / E[1/S]: the c-mu rule for slowdown).

A key's durations need not be log-normal, nor true: workers say them. So what the formula adds to
them is bounded, and `expected` is never above twice the longest that is remembered of the key or,
if that is longer, the middle of the prior.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

Key = tuple[str, str]

UNKNOWN_S: Final = 30.0  # Before anything is known: slow, until it proves to be fast.
_RING: Final = 64
_PRIOR_WEIGHT: Final = 3.0
_PRIOR_KEYS: Final = 3  # So many keys must be known before the prior means anything.
_PRIOR_SAMPLES: Final = 20  # Of each key, the first ones.
_VARIANCE: Final = 0.4  # Of the log of durations within a key, before it is known.
_VARIANCE_MAX: Final = 4.0  # Of more, a log-normal's mean is far beyond all that was seen.
_BEYOND: Final = math.log(2.0)  # So far beyond the longest; ordinary keys stay below it.
_LEAST_S: Final = 1e-4
_MOST_S: Final = 1e7  # Four months.
_LEAST_INVERSE_S: Final = 0.1  # Shorter jobs are equal: a wait of less is not felt.
_KEYS_MAX: Final = 50_000
_RECENT_MIN: Final = 0.5
_JUDGED_FROM: Final = 3  # Durations, before one more says anything of who executed it.


def _within(seconds: float) -> float:
    """Between the limits; in this order of arguments, what is not a number is the least."""
    return min(_MOST_S, max(_LEAST_S, seconds))


class _Durations:
    __slots__ = (
        "_cached",
        "n",
        "ring",
        "seen",
        "total_inverse",
        "total_log",
        "total_log2",
    )

    def __init__(self) -> None:
        self.ring: deque[float] = deque()
        self.seen = 0
        self.total_inverse = self.total_log = self.total_log2 = 0.0
        self.n = 0
        self._cached: tuple[float, float] | None = None

    def add(self, seconds: float) -> None:
        self._count(seconds, 1)
        self.ring.append(seconds)
        self.seen += 1
        if len(self.ring) > _RING:
            self._count(self.ring.popleft(), -1)
        self.n = len(self.ring)
        self._cached = None

    def _count(self, seconds: float, sign: int) -> None:
        log = math.log(seconds)
        self.total_inverse += sign / max(seconds, _LEAST_INVERSE_S)
        self.total_log += sign * log
        self.total_log2 += sign * log * log

    def log_spread(self) -> tuple[float, float]:
        """Mean and standard deviation of the durations' logarithms."""
        mean = self.total_log / self.n
        spread = max(self.total_log2 - self.n * mean * mean, 0.0)
        return mean, math.sqrt((2 * _VARIANCE + spread) / (2 + self.n))

    def estimate(self, prior: "_Prior") -> tuple[float, float]:
        """Expected seconds, and the index."""
        if self._cached is None:
            n = self.n
            mean_log = self.total_log / n
            spread = max(self.total_log2 - n * mean_log * mean_log, 0.0)
            variance = min((2 * _VARIANCE + spread) / (2 + n), _VARIANCE_MAX)
            pull = _VARIANCE / prior.variance
            # With no prior worth the name the key's own mean stands for it.
            centre = prior.mean if prior.known else mean_log
            m = (self.total_log + pull * centre) / (n + pull)
            w = _PRIOR_WEIGHT
            longest = max(math.log(max(self.ring)), centre)
            mean = math.exp(min(m + variance / 2, longest + _BEYOND))
            # Summed anew: a running sum keeps the rounding of long durations that have left it.
            expected = (w * mean + math.fsum(self.ring)) / (w + n)
            least = max(math.exp(m - variance / 2), _LEAST_INVERSE_S)
            inverse = (w / least + self.total_inverse) / (w + n)
            self._cached = (expected, math.sqrt(expected / inverse))
        return self._cached


class _Prior:
    """The distribution of the logs of durations over keys, each key weighted once."""

    def __init__(self) -> None:
        self.keys = 0
        self._weight = self._log = self._log2 = 0.0

    def add(self, seconds: float, seen: int) -> None:
        if seen > _PRIOR_SAMPLES:
            return
        self.keys += seen == 1
        weight = 1 / seen
        log = math.log(seconds)
        self._weight += weight
        self._log += weight * log
        self._log2 += weight * log * log

    @property
    def known(self) -> bool:
        return self.keys >= _PRIOR_KEYS

    @property
    def mean(self) -> float:
        return self._log / self._weight

    @property
    def variance(self) -> float:
        if not self.known:
            return _VARIANCE_MAX
        return max(self._log2 / self._weight - self.mean**2, _VARIANCE)


class Estimates:
    """What is known of every key; the least recently used are forgotten beyond a limit."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Key, _Durations] = OrderedDict()
        self._prior = _Prior()
        self._recent: dict[Key, float] = {}  # How many ended lately, halved at each `samples`.

    def learn(self, key: Key, seconds: float) -> None:
        """A job of this key took so long."""
        seconds = _within(seconds)
        known = self._keys.get(key)
        if known is None:
            known = self._keys[key] = _Durations()
            if len(self._keys) > _KEYS_MAX:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
        known.add(seconds)
        self._recent[key] = self._recent.get(key, 0.0) + 1
        self._prior.add(seconds, known.seen)

    def recall(self, key: Key, durations: Iterable[float]) -> bool:
        """What is told of earlier runs; False, and nothing, where newer ends are known already."""
        if key in self._keys:
            return False
        for seconds in durations:
            self.learn(key, seconds)
        return True

    def expected(self, key: Key) -> float:
        """Expected seconds."""
        known = self._keys.get(key)
        if known is not None:
            return known.estimate(self._prior)[0]
        if not self._prior.known:
            return UNKNOWN_S
        return math.exp(self._prior.mean + min(self._prior.variance, _VARIANCE_MAX) / 2)

    def deviation(self, key: Key, seconds: float) -> tuple[float, float] | None:
        """By how much the logarithm of this duration is above its key's mean, and how much those
        vary; None: too little is known of the key to say.
        """
        known = self._keys.get(key)
        if known is None or known.n < _JUDGED_FROM:
            return None
        mean, sd = known.log_spread()
        return math.log(_within(seconds)) - mean, sd

    def is_known(self, key: Key) -> bool:
        """Whether a job of this key has ended before."""
        return key in self._keys

    def index(self, key: Key) -> float | None:
        """The length by which jobs are ordered, in seconds; None: nothing is known of the key."""
        known = self._keys.get(key)
        return None if known is None else known.estimate(self._prior)[1]

    def samples(self) -> list[tuple[float, float]]:
        """Each recently used key's expected seconds, and how many jobs of it ended lately."""
        found = [
            (self._keys[key].estimate(self._prior)[0], count)
            for key, count in self._recent.items()
            if key in self._keys
        ]
        self._recent = {
            key: half for key, n in self._recent.items() if (half := n / 2) > _RECENT_MIN
        }
        return found
