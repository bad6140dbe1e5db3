"""Decides which partitions are slow, and which partition each of a worker's slots serves.

docs/balancing.md, section 6: the partitions are divided by a share.
"""

from collections.abc import Sequence

from control.model.states import Speed


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
