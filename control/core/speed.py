"""Decides which jobs and which partitions are slow.

BALANCING.md section 0: a job is slow at or above a threshold, fixed or learned from the mix; the
partitions are divided by a share. The split says where work goes first.
"""

import math
from collections.abc import Sequence
from typing import Final

from control.model.states import Speed

THRESHOLD_MAX_S: Final = 30.0
_RATIO_MIN: Final = 4.0  # Classes closer than this are one class.
_SHARE_MIN: Final = 0.5  # The short ones must be the many,
_SHARE_KEPT: Final = 0.35  # but a cut that is in force stays for a while after they were.


def partition_classes(partitions: int, slow_share: float) -> tuple[Speed, ...]:
    """The class of each partition: fast ones first. Each class has at least one when it can."""
    slow = round(partitions * slow_share)
    if partitions > 1 and 0 < slow_share < 1:
        slow = min(max(slow, 1), partitions - 1)
    return (Speed.FAST,) * (partitions - slow) + (Speed.SLOW,) * slow


def slot_partitions(slots: Sequence[int], count: int, classes: Sequence[Speed]) -> list[int]:
    """Partitions for `count` new slots, given how many slots each partition has already.

    The emptiest partition first; among equals the classes take turns by their share, so that
    also the first few slots are divided as the partitions are.
    """
    taken = list(slots)
    rank = _interleaved(classes)
    chosen = []
    for _ in range(count):
        best = min(range(len(taken)), key=lambda p: (taken[p], rank[p]))
        taken[best] += 1
        chosen.append(best)
    return chosen


def _interleaved(classes: Sequence[Speed]) -> list[float]:
    # The k-th of n members of a class stands at (k + 1/2) / n of the way.
    totals = {speed: classes.count(speed) for speed in Speed}
    seen = dict.fromkeys(Speed, 0)
    ranks = []
    for speed in classes:
        ranks.append((seen[speed] + 0.5) / totals[speed])
        seen[speed] += 1
    return ranks


def learned_threshold(
    samples: Sequence[tuple[float, float]], share_min: float = _SHARE_MIN
) -> float | None:
    """The cut between the many short and the few long, or None where it would not pay.

    `samples`: expected seconds and how many jobs of it there are; `share_min`: of the short ones.
    The cut with the largest variance between the two sides (Otsu's method), on the logarithm,
    weighted by work.
    """
    points = sorted((seconds, count) for seconds, count in samples if count > 0)
    if len(points) <= 1:
        return None
    work = [seconds * count for seconds, count in points]
    logs = [math.log(seconds) for seconds, _ in points]
    total_work = sum(work)
    total_moment = sum(w * log for w, log in zip(work, logs, strict=True))
    jobs = sum(count for _, count in points)
    best, at = 0.0, None
    low_work = low_moment = 0.0
    for i in range(len(points) - 1):
        low_work += work[i]
        low_moment += work[i] * logs[i]
        high_work = total_work - low_work
        gap = (total_moment - low_moment) / high_work - low_moment / low_work
        between = low_work * high_work * gap * gap
        if between > best:
            best, at = between, i
    if at is None:
        return None
    low_jobs = sum(count for _, count in points[: at + 1])
    low_mean = sum(work[: at + 1]) / low_jobs
    high_mean = sum(work[at + 1 :]) / (jobs - low_jobs)
    if high_mean < _RATIO_MIN * low_mean or low_jobs < share_min * jobs:
        return None
    return min(math.sqrt(points[at][0] * points[at + 1][0]), THRESHOLD_MAX_S)


class Threshold:
    """The slow threshold in force: fixed, or learned and moved slowly."""

    def __init__(self, fixed_s: float | None) -> None:
        self._fixed_s = fixed_s
        self._learned = self._in_force = False
        self.seconds = THRESHOLD_MAX_S if fixed_s is None else fixed_s

    def update(self, samples: Sequence[tuple[float, float]]) -> None:
        """Move half of the way (on the logarithm) to where the mix says it should be.

        The first cut that is found is taken at once: until then nothing protects short jobs.
        """
        if self._fixed_s is not None:
            return
        target = learned_threshold(samples, _SHARE_KEPT if self._in_force else _SHARE_MIN)
        self._in_force = target is not None
        if target is not None and not self._learned:
            self._learned = True
            self.seconds = target
        else:
            self.seconds = math.sqrt(self.seconds * (target or THRESHOLD_MAX_S))
