"""Decides what is told of each partition: what is in it, and how much more may be."""

from collections.abc import Iterable, Sequence

from control.core.balancer.slots import WINDOW_S, Lane, WorkerSlots
from control.model.api.balancer import LoadOfPartition
from control.model.states import Speed


def loads(
    classes: Sequence[Speed],
    workers: Iterable[WorkerSlots],
    placed: Iterable[tuple[Lane, float, int]],
) -> list[LoadOfPartition]:
    """Each partition's load. `placed`: lane, expected seconds, and since when, of each job."""
    count = len(classes)
    ahead_s, window_s = [0.0] * count, [0.0] * count
    slots, depth, expected = [0] * count, [0] * count, [0.0] * count
    names: list[set[str]] = [set() for _ in range(count)]
    oldest: list[int | None] = [None] * count
    for worker in workers:
        for at, lane in worker.lanes.items():
            slots[at] += lane.slots
            names[at].add(worker.info.worker)
            if not worker.draining and worker.slowness <= 1:  # Else nothing is sent ahead.
                # A window is a worker's; each of its lanes has the part that its slots are.
                window_s[at] += worker.window_s * lane.slots / worker.slots
    for lane, expected_s, placed_ms in placed:
        at = lane.partition
        depth[at] += 1
        expected[at] += expected_s
        if expected_s <= WINDOW_S:
            ahead_s[at] += expected_s
        first = oldest[at]
        oldest[at] = placed_ms if first is None else min(first, placed_ms)
    return [
        LoadOfPartition(
            partition=at,
            speed=classes[at],
            slots=slots[at],
            running=min(depth[at], slots[at]),
            depth=max(depth[at] - slots[at], 0),
            expected_s=expected[at],
            ahead_s=ahead_s[at],
            window_s=window_s[at],
            oldest_ms=oldest[at],
            workers=tuple(sorted(names[at])),
        )
        for at in range(count)
    ]
