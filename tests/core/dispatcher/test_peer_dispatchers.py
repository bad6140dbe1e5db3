"""Decides that a dispatcher believes workers to be where balancer and API believe them to be."""

from itertools import permutations

import pytest

from control.core.dispatcher.peer_dispatchers import PeerDispatchers
from control.core.fleet.worker_registry import WorkerRegistry
from control.model.bus.messages import DispatcherUp, Message, WorkerDown
from control.model.numbers import JobId
from tests.core.dispatcher.test_leases_elsewhere import up

SERVING = [
    DispatcherUp(dispatcher=name, partitions=(at,), workers=(), adrift=())
    for at, name in enumerate(("e", "f"))
]
NEWS: list[Message] = [
    up("w", "e", connected_ms=100),
    up("w", "f", connected_ms=200),
    WorkerDown(worker="w", dispatcher="f", reason="closed"),
]


@pytest.mark.parametrize("order", list(permutations(NEWS)))
def test_all_agree_on_where_a_worker_is(order: tuple[Message, ...]) -> None:
    peers, registry = PeerDispatchers("d", 2), WorkerRegistry()
    for message in (*SERVING, *order):
        peers.apply(message)
        registry.apply(message)
        assert peers.worker("w") == registry.workers.get("w")
    taken_back = order.index(NEWS[1]) < order.index(NEWS[2])
    where = peers.worker("w")
    assert where is not None
    assert where.dispatcher == ("e" if taken_back else "f")
    assert peers.partition_for("w", JobId(7), "") == ["e", "f"].index(where.dispatcher)


def test_a_dispatcher_is_no_peer_of_its_own() -> None:
    peers = PeerDispatchers("e", 2)
    for message in (*SERVING, NEWS[0]):
        peers.apply(message)
    assert peers.worker("w") is None
    peers.apply(NEWS[1])
    assert peers.partition_for("w", JobId(7), "") == 1
    peers.taken({0, 1})
    assert peers.partition_for("w", JobId(7), "") is None
