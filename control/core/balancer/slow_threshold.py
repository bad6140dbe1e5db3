"""Decides from which expected length on a job is slow: a threshold, fixed or learned from the mix.

docs/balancing.md, section 5.
"""

import math
from collections.abc import Sequence
from typing import Final

THRESHOLD_MAX_S: Final = 30.0
_RATIO_MIN: Final = 4.0  # Classes closer than this are one class.
_SHARE_MIN: Final = 0.5  # The short ones must be the many,
_SHARE_KEPT: Final = 0.35  # but a cut that is in force stays for a while after they were.


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
