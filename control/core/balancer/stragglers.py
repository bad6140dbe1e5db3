"""Decides which workers are stragglers: those that take longer than the others for the same jobs.

docs/balancing.md, section 9: a moving mean of how far the logarithm of a duration is from its key's
own mean. A worker is compared with the other workers, so a pipeline that has become slower
everywhere makes no worker a straggler, nor does anything where there is only one worker.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Final

_STEP: Final = 0.2
_USUAL_SD: Final = 0.5  # Keys that vary more than this say less of a worker.
_FORGOTTEN_S: Final = 1200.0  # The time in which what is known of a worker fades to 1/e.
_SICK: Final = 0.9  # On the logarithm: two and a half times as long.
_WELL: Final = 0.7  # Once a straggler, it has to be plainly better to be none.
_MOVED: Final = 0.1  # A straggler's factor that has changed by more is told again.
_JOBS_MIN: Final = 6
_EVERY: Final = 16  # Ends between two comparisons; as many as there are workers, if that is more.


class _WorkerDurations:
    __slots__ = ("at_ms", "deviation", "jobs")

    def __init__(self, now_ms: int) -> None:
        self.jobs = 0
        self.deviation = 0.0
        self.at_ms = now_ms

    def fade(self, now_ms: int) -> float:
        passed_s = max(now_ms - self.at_ms, 0) / 1000
        self.at_ms = now_ms  # Also after the clock was set back.
        self.deviation *= math.exp(-passed_s / _FORGOTTEN_S)
        return self.deviation


class StragglerDetector:
    """How each connected worker's durations compare. `slowness`: of stragglers, above 1."""

    def __init__(self) -> None:
        self._workers: dict[str, _WorkerDurations] = {}
        self._ends_left = _EVERY
        self.slowness: Mapping[str, float] = {}

    def forget(self, worker: str) -> None:
        """It is gone for good, or is another one of the same name."""
        self._workers.pop(worker, None)
        if worker in self.slowness:
            self.slowness = {name: f for name, f in self.slowness.items() if name != worker}

    def ended(self, worker: str, log_ratio: float, sd: float, now_ms: int) -> bool:
        """A job took e^`log_ratio` times what its key takes; the key's logs vary by `sd`.

        True: `slowness` is another one now: other workers, or factors that moved by a tenth.
        """
        known = self._workers.get(worker)
        if known is None:
            known = self._workers[worker] = _WorkerDurations(now_ms)
        known.fade(now_ms)
        told = log_ratio * min(1.0, _USUAL_SD / sd) if sd > 0 else log_ratio
        known.deviation += _STEP * (told - known.deviation)
        known.jobs += 1
        self._ends_left -= 1
        return self._ends_left <= 0 and self._compare(now_ms)

    def _compare(self, now_ms: int) -> bool:
        self._ends_left = max(_EVERY, len(self._workers))
        judged = {
            name: known.fade(now_ms)
            for name, known in self._workers.items()
            if known.jobs >= _JOBS_MIN
        }
        found: dict[str, float] = {}
        if len(judged) > 1:
            # Of the lower half: with two workers the better one is what is usual.
            usual = statistics.median_low(judged.values())
            for name, deviation in judged.items():
                beyond = deviation - usual
                if beyond > (_WELL if name in self.slowness else _SICK):
                    found[name] = math.exp(beyond)
        # What was told stays as it was told, so that who asks and who was told know the same.
        changed = found.keys() != self.slowness.keys() or any(
            abs(times / self.slowness[name] - 1) > _MOVED for name, times in found.items()
        )
        if changed:
            self.slowness = found
        return changed
