"""Decides at which round lengths of time a histogram of durations is divided."""

from collections.abc import Sequence
from itertools import count
from typing import Final

BUCKETS_MAX: Final = 10
_BUCKETS_MIN: Final = 6
_LEAST_S: Final = 0.001  # Nobody asks what less than a millisecond is made of.
_STEPS: Final = (1.0, 2.0, 5.0)
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def _ladder(
    decimal: Sequence[float], sixty: Sequence[float], hours: Sequence[float], days: Sequence[float]
) -> tuple[float, ...]:
    """Round lengths: decimal below a second, as clocks count them above."""
    return (
        *(round(step * 10**power, 6) for power in (-3, -2, -1) for step in decimal),
        *sixty,
        *(step * _MINUTE for step in sixty),
        *(step * _HOUR for step in hours),
        *(step * _DAY for step in days),
    )


_FINE: Final = _ladder(
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 45),
    (1, 1.5, 2, 3, 6, 12),
    (1, 2, 3, 5, 7, 10, 20, 30, 50, 100, 200, 500, 1_000, 5_000),
)
_PLAIN: Final = _ladder(
    (1, 2, 5), (1, 2, 5, 10, 30), (1, 3, 12), (1, 3, 10, 30, 100, 300, 1_000, 5_000)
)


def bounds(low: float, high: float) -> tuple[float, ...]:
    """Ascending seconds that divide durations: `BUCKETS_MAX` parts at most, each below one of them.

    `low`: below which hardly any is; `high`: the longest, in the last part.
    """
    low, high = max(low, 0.0), max(low, high, 0.0)
    if high < _LEAST_S:
        return (_LEAST_S,)
    found = _within(_FINE, low, high)
    if found and len(found) < _BUCKETS_MIN and low < high:
        return _even(low, high)
    if found and len(found) <= BUCKETS_MAX:
        return found
    plain = _within(_PLAIN, low, high)
    every = -(-len(plain) // BUCKETS_MAX)
    # From the top down: what is above all durations stays.
    return plain[::-every][::-1] if plain else _even(low, high)


def _within(ladder: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    """Its steps above `low`, up to the first above `high`; none if it does not reach so far."""
    above = next((at for at, step in enumerate(ladder) if step > high), None)
    if above is None:
        return ()
    return tuple(step for step in ladder[: above + 1] if step > low)


def _even(low: float, high: float) -> tuple[float, ...]:
    """Equal steps of a round length, for what differs by little, or is longer than any ladder."""
    widest = max(high - low, _LEAST_S)
    step = next(
        size
        for power in count(-3)
        for size in (round(each * 10.0**power, 3) for each in _STEPS)
        if widest / size <= BUCKETS_MAX - 2
    )
    at = int(low // step)
    found: list[float] = []
    while not found or found[-1] <= high:
        at += 1
        found.append(round(at * step, 3))
    return tuple(each for each in found if each > low)
