"""Checks what the balancer tells of partitions, and of slow jobs in words."""

import msgspec
import pytest

from control.core.balancer.balancer import Balancer
from control.core.balancer.partition_loads import loads
from control.core.balancer.policy import Policy
from control.core.balancer.slots import WorkerSlots
from control.model.bus.messages import WorkerUp
from control.model.states import Speed
from tests.core.balancer.balancing import ready, worker

CLASSES = (Speed.FAST, Speed.SLOW)
INFO = WorkerUp(
    worker="w",
    dispatcher="d",
    host="h",
    slots=3,
    labels=(),
    kinds=(("Sleep", ("1.0.0",)),),
    partitions=(0, 0, 1),
    draining=False,
    connected_ms=0,
)


def windows(worker: WorkerSlots) -> list[float]:
    return [load.window_s for load in loads(CLASSES, [worker], [])]


def test_to_who_leaves_or_straggles_nothing_is_sent_ahead() -> None:
    well = windows(WorkerSlots(INFO, CLASSES))
    assert well[0] == pytest.approx(2 * well[1]) != 0.0
    leaving = WorkerSlots(msgspec.structs.replace(INFO, draining=True), CLASSES)
    assert windows(leaving) == [0.0, 0.0]
    straggler = WorkerSlots(INFO, CLASSES)
    straggler.slowness = 3.0
    assert windows(straggler) == [0.0, 0.0]


@pytest.mark.parametrize(("slots", "words"), [(2, "hold 1 slot;"), (3, "hold 2 slots;")])
def test_slots_are_counted_in_words(slots: int, words: str) -> None:
    balancer = Balancer(Policy(partitions=2))  # Of unknown jobs it expects that they are slow.
    balancer.worker_up(worker("w", slots, balancer))
    for number in range(slots):
        balancer.submit(ready(number), number)
    assert len(balancer.assign(0, slots)) == slots - 1
    waits = balancer.waits(slots - 1)
    assert waits is not None
    assert words in waits.why
