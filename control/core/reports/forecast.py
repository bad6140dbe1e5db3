"""Decides how many slots planned runs will keep busy, if their jobs take as long as before.

A run needs its jobs' seconds, spread evenly over its expected length from its due time on. Whether
a schedule will skip or delay a run because an earlier one has not ended is not foreseen.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import msgspec

from control.core.reports.eta import Unended, remaining_s
from control.model.api.forecast import ForecastBucket
from control.model.states import State
from control.model.times import to_rfc3339


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of a pipeline should need: how long it takes, and its jobs' seconds together."""

    seconds: float
    slot_seconds: float


def shape(jobs: Iterable[tuple[str, float | None]]) -> Shape | None:
    """By each job's stage and expected seconds; None: nothing is known of one of them."""
    found = [
        Unended(stage=stage, state=State.READY, expected_s=expected_s, started_ms=None)
        for stage, expected_s in jobs
    ]
    seconds = remaining_s(found, 0)
    if seconds is None:
        return None
    return Shape(seconds=seconds, slot_seconds=sum(job.expected_s or 0.0 for job in found))


def edges(now_ms: int, until_ms: int, bucket_ms: int) -> list[int]:
    """Where the stretches meet: now, then at round times, and where the last one ends.

    Round ones stay where they are while time goes on.
    """
    return [now_ms, *range(now_ms - now_ms % bucket_ms + bucket_ms, until_ms, bucket_ms), until_ms]


def forecast(
    planned: Iterable[tuple[Shape | None, Sequence[int]]], at_ms: Sequence[int]
) -> tuple[list[ForecastBucket], int]:
    """Each stretch between these edges, and of how many runs nothing is known.

    `planned`: for each pipeline its shape, and when its runs are due, in order. A run that is
    overdue waits, and begins with the first stretch.
    """
    runs = [0] * (len(at_ms) - 1)
    slots = [0.0] * (len(at_ms) - 1)
    unknown = 0
    for needed, due_ms in planned:
        begun = [0, *(bisect_left(due_ms, edge) for edge in at_ms[1:])]
        for at, (before, after) in enumerate(pairwise(begun)):
            runs[at] += after - before
        if needed is None:
            unknown += begun[-1]
        elif needed.seconds > 0:
            overdue = bisect_left(due_ms, at_ms[0])
            starts = [at_ms[0]] * overdue + list(due_ms[overdue : begun[-1]])
            for at, busy in enumerate(_busy(starts, needed, at_ms)):
                slots[at] += busy
    return [
        ForecastBucket(at=to_rfc3339(edge), runs=runs[at], slots=round(slots[at], 3))
        for at, edge in enumerate(at_ms[:-1])
    ], unknown


def _busy(starts: Sequence[int], needed: Shape, at_ms: Sequence[int]) -> list[float]:
    """Average slots in each stretch. The cost is that of the runs and edges, not their product."""
    length_ms = max(round(needed.seconds * 1000), 1)  # Whole numbers: sums of times are large.
    sums = [0, *accumulate(starts)]

    def since_start(now_ms: int) -> int:
        """How long all that have started by then would have gone on, were they endless."""
        started = bisect_left(starts, now_ms)
        return started * now_ms - sums[started]

    done = [since_start(edge) - since_start(edge - length_ms) for edge in at_ms]
    rate = needed.slot_seconds * 1000 / length_ms
    return [
        rate * (after - before) / (end - begin)
        for (before, after), (begin, end) in zip(pairwise(done), pairwise(at_ms), strict=True)
    ]
