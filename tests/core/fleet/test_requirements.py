"""Decides in which words it is told that no connected worker can run a job."""

import pytest

from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Policy
from control.core.balancer.queue_survey import queues
from control.core.fleet.requirements import why_unfit
from control.model.api.queues import is_for_ever
from control.model.bus.messages import WorkerUp
from tests.core.balancer.balancing import ready, worker
from tests.core.balancer.test_queue_survey import waiting_at


def up(name: str, labels: tuple[str, ...] = (), **kinds: str) -> WorkerUp:
    return WorkerUp(
        worker=name,
        dispatcher="d",
        host="h",
        slots=1,
        labels=labels,
        kinds=tuple((kind, (version,)) for kind, version in kinds.items()),
        partitions=(0,),
        draining=False,
        connected_ms=0,
    )


@pytest.mark.parametrize(
    ("workers", "why"),
    [
        ([], "no worker is connected"),
        ([up("a", HTTP="1.0.0"), up("b")], "0 of 2 have the kind"),
        ([up("a", Shell="1.1.0"), up("b", Shell="2.0.0")], "they have Shell 1.1.0, 2.0.0"),
        ([up("a", Shell="1.0.0"), up("b", ("gpu", "ssd"))], "0 of 1 with the kind have the labels"),
        (
            [up("a", ("gpu",), Shell="1.0.0"), up("b", Shell="1.0.0")],
            "0 of 2 with the kind have the label ssd",
        ),
        (
            [up("a", ("gpu",), Shell="1.0.0"), up("b", ("ssd",), Shell="1.0.0")],
            "0 of 2 with the kind have all the labels",
        ),
    ],
)
def test_why_no_worker_can(workers: list[WorkerUp], why: str) -> None:
    found = why_unfit("Shell", "1.0.0", ("gpu", "ssd"), workers)
    assert found is not None
    assert why in found
    assert is_for_ever(found)
    if workers:
        assert found.startswith("no connected worker can run Shell 1.0.0 with labels gpu, ssd: ")


def test_somebody_can() -> None:
    able = up("a", ("gpu", "ssd", "big"), Shell="1.0.0")
    assert why_unfit("Shell", "1.0.0", ("gpu", "ssd"), [up("b"), able]) is None


def test_workers_that_take_nothing_new() -> None:
    balancer = Balancer(Policy())
    balancer.worker_up(worker("w", 4, balancer))
    balancer.worker_up(worker("x", 4, balancer))
    waiting_at(balancer, ready(1))
    balancer.drain("w")
    balancer.drain("x")
    balancer.assign(0, 100)
    ((reason, jobs),) = [(each.reason, each.jobs) for each in queues(balancer, 5, 0).reasons]
    assert reason.startswith("the workers that can run it take nothing new now")
    assert jobs == 1
    assert is_for_ever(reason)
