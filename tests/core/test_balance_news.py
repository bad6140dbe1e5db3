"""Decides that the newest word about a waiting job or its client counts, in whatever order."""

import msgspec

from control.core.balance import Balancer, Policy
from tests.core.balancing import finished, ready, worker


def test_a_job_moved_twice_has_the_second_place() -> None:
    balancer = Balancer(Policy())
    balancer.submit(ready(1), 1)
    moved = balancer.reorder(1, (10, 10, 0, 5))
    assert moved is not None
    assert balancer.reorder(1, (10, 10, 0, 6)) is None
    balancer.submit(moved[0], 2)
    assert balancer.waiting.jobs[1].job.order == (10, 10, 0, 6)


def test_an_order_to_cancel_an_older_attempt_leaves_the_newer_one() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.submit(msgspec.structs.replace(ready(1), attempt=2), 7)
    assert balancer.cancel(1, 1) is None
    assert 1 in balancer.waiting.jobs


def test_a_client_s_new_limits_hold_for_what_was_said_before_them() -> None:
    """A message about a job is old when it is read back after a restart, or given back."""
    balancer = Balancer(Policy(partitions=4))
    balancer.client_changed("ann", 5, 1)
    balancer.submit(ready(1, client="bob", order=(7, 10, 0, 10)), 0)
    for job_id in (2, 3):
        balancer.submit(ready(job_id, max_running=9), job_id)
    balancer.worker_up(worker("w", 4, balancer))
    made = balancer.assign(0, 10)
    assert [assignment.job.job_id for assignment in made] == [2, 1]
    assert made[0].job.order == (5, 10, 0, 10)
    assert balancer.why(3) == "ann is at max_running: 1 of 1"


def test_jobs_that_come_and_go_while_nothing_can_be_placed_leave_nothing() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.submit(ready(1), 1)
    for job_id in range(2, 1_000):
        balancer.submit(ready(job_id, pipeline=f"p{job_id}"), job_id)
        balancer.submit(ready(10_000 + job_id), job_id)
        balancer.assign(0, 10)
        balancer.cancel(job_id, 1)
        balancer.cancel(10_000 + job_id, 1)
    balancer.assign(0, 10)
    (lot,) = balancer.waiting._parked.values()  # noqa: SLF001
    assert lot.size == 1
    assert len(lot.heap) < 100
    assert len(balancer.waiting.jobs[1].queue.heap) < 100


def test_the_end_of_a_job_looks_at_few_queues_however_many_wait() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 4, balancer))
    for job_id in range(1_000):
        balancer.submit(ready(job_id, pipeline=f"p{job_id}", max_running=2), job_id)
    made = balancer.assign(0, 100)
    for _ in range(10):
        balancer.finished(finished(made.pop(0), 5.0))
        queues = {waiting.queue for waiting in balancer.waiting.jobs.values()}
        assert sum(queue.parked is None for queue in queues) == 1
        made += balancer.assign(0, 100)
        assert len(made) == 2
        assert not any(queue.parked is None for queue in queues if queue.size)
