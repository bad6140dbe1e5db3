"""Owns what time is to one process: the wall clock, and one that cannot be set.

The wall clock may be set while a process lives, by minutes or by months. So it is used only for
what people see, and for schedules, which are about the time of day. How long something lasts
(leases, retries, time-outs, keys that expire) is measured by the steady clock: it begins at the
wall clock's time and then only goes on, at the same pace, also while the machine is suspended.
"""

import time
from collections.abc import Callable

_MS = 1_000_000


class Clock:
    """Both clocks, in milliseconds since 1970. `uptime_ms` counts evenly from any begin."""

    def __init__(self, wall_ms: Callable[[], int], uptime_ms: Callable[[], int]) -> None:
        self.wall_ms = wall_ms
        self._uptime_ms = uptime_ms
        self._base_ms = wall_ms() - uptime_ms()

    def steady_ms(self) -> int:
        """The time by the clock that never jumps."""
        return self._base_ms + self._uptime_ms()

    def ahead_ms(self) -> int:
        """How far the wall clock was set ahead of the steady one, all in all."""
        return self.wall_ms() - self.steady_ms()

    def resume(self, ahead_ms: int) -> None:
        """Go on from the steady clock of an earlier process: the wall clock is so far ahead of it.

        Before anything else uses this clock.
        """
        self._base_ms = self.wall_ms() - self._uptime_ms() - ahead_ms


def system_clock() -> Clock:
    """The clock of this process."""
    return Clock(lambda: time.time_ns() // _MS, _uptime_ms)


def _uptime_ms() -> int:
    # Where there is a clock that also counts while the machine sleeps.
    kind = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(kind) // _MS
