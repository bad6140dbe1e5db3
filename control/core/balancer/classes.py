"""Decides which jobs are slow, and records each change of class with its reason."""

from collections import deque
from typing import Final

import msgspec

from control.core.balancer.estimates import Estimates, Key
from control.core.balancer.slow_threshold import Threshold
from control.model.api.balancer import ClassChange
from control.model.states import Speed

_STAYS: Final = 0.1  # So far beyond the threshold a class stays: one that wavers is not news.
_CHANGES_MAX: Final = 50
_KEYS_MAX: Final = 50_000


class _Known(msgspec.Struct):
    speed: Speed
    threshold_s: float


class Classes:
    """The class of each key, as it was at its last end. `changed`: changes nobody has taken yet."""

    def __init__(self, estimates: Estimates, threshold: Threshold) -> None:
        self._estimates = estimates
        self._threshold = threshold
        self._keys: dict[Key, _Known] = {}
        self.changed: list[ClassChange] = []
        self.last: deque[ClassChange] = deque(maxlen=_CHANGES_MAX)

    def speed(self, key: Key, expected_s: float) -> Speed:
        """The class of a job that is expected to take so long."""
        cut = self._threshold.seconds
        known = self._keys.get(key)
        if known is not None:
            cut *= 1 - _STAYS if known.speed == Speed.SLOW else 1 + _STAYS
        return Speed.SLOW if expected_s >= cut else Speed.FAST

    def learned(self, key: Key, now_ms: int) -> bool:
        """A job of this key has ended; True: its class is another one now."""
        expected_s = self._estimates.expected(key)
        speed = self.speed(key, expected_s)
        known = self._keys.get(key)
        cut = self._threshold.seconds
        if known is None:
            if len(self._keys) >= _KEYS_MAX:  # Estimates of the oldest are gone as well.
                del self._keys[next(iter(self._keys))]
            self._keys[key] = _Known(speed, cut)
            return False
        if speed == known.speed:
            return False
        would_be = Speed.SLOW if expected_s >= known.threshold_s else Speed.FAST
        if would_be == speed:
            reason = f"its jobs are expected to take {expected_s:.3g} s now"
        else:
            reason = f"the threshold moved from {known.threshold_s:.3g} to {cut:.3g} s"
        change = ClassChange(
            at_ms=now_ms,
            pipeline=key[0],
            name=key[1],
            speed=speed,
            expected_s=expected_s,
            threshold_s=cut,
            reason=reason,
        )
        known.speed, known.threshold_s = speed, cut
        self.changed.append(change)
        self.last.appendleft(change)
        return True
