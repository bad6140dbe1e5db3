"""Decides that the newest word about a waiting job or its client counts, in whatever order."""

import msgspec

from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Policy
from control.model.numbers import JobId
from tests.core.balancer.balancing import announced, finished, held, ready, teach, why, worker


def test_a_job_moved_twice_has_the_second_place() -> None:
    balancer = Balancer(Policy())
    balancer.submit(ready(1), 1)
    moved = balancer.reorder(JobId(1), (10, 10, 0, 5))
    assert moved is not None
    assert balancer.reorder(JobId(1), (10, 10, 0, 6)) is None
    balancer.submit(moved[0], 2)
    assert balancer.waiting.jobs[1].job.order == (10, 10, 0, 6)


def test_an_order_to_cancel_an_older_attempt_leaves_the_newer_one() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.submit(msgspec.structs.replace(ready(1), attempt=2), 7)
    assert balancer.cancel(JobId(1), 1) is None
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
    assert why(balancer, 3) == "ann is at max_running: 1 of 1"


def test_jobs_that_come_and_go_while_nothing_can_be_placed_leave_nothing() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.submit(ready(1), 1)
    for job_id in range(2, 1_000):
        balancer.submit(ready(job_id, pipeline=f"p{job_id}"), job_id)
        balancer.submit(ready(10_000 + job_id), job_id)
        balancer.assign(0, 10)
        balancer.cancel(JobId(job_id), 1)
        balancer.cancel(JobId(10_000 + job_id), 1)
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
        balancer.finished(finished(made.pop(0), 5.0), 0)
        queues = {waiting.queue for waiting in balancer.waiting.jobs.values()}
        # A second one when those who are unknown turn out to be fast.
        assert sum(queue.parked is None for queue in queues) in {1, 2}
        made += balancer.assign(0, 100)
        assert len(made) == 2
        assert not any(queue.parked is None for queue in queues if queue.size)


def test_only_who_has_a_worker_may_say_that_it_is_gone() -> None:
    balancer = Balancer(Policy(partitions=4))
    here = msgspec.structs.replace(worker("w", 2, balancer), connected_ms=5)
    balancer.worker_up(here)
    balancer.worker_down("w", "zombie")
    balancer.worker_up(msgspec.structs.replace(here, dispatcher="zombie", connected_ms=4))
    balancer.submit(ready(1), 1)
    (made,) = balancer.assign(0, 10)
    assert made.worker == "w"
    balancer.worker_down("w", "d")
    assert balancer.slots.workers["w"].info.dispatcher == "zombie"


def test_a_worker_without_partitions_gets_nothing_and_its_jobs_count() -> None:
    balancer = Balancer(Policy(partitions=4))
    idle = msgspec.structs.replace(worker("w", 2, balancer), partitions=(), holds=(held(7),))
    balancer.worker_up(idle)
    balancer.submit(ready(1, max_running=1), 1)
    balancer.submit(ready(2, client="bob"), 2)
    assert balancer.assign(0, 10) == []
    assert why(balancer, 1) == "ann is at max_running: 1 of 1"
    assert why(balancer, 2) == "no free slot"
    assert [load.depth for load in balancer.partitions()] == [0] * 4
    balancer.worker_up(msgspec.structs.replace(idle, partitions=(0, 2)))
    assert balancer.slots.workers["w"].outstanding == 1
    (made,) = balancer.assign(0, 10)
    assert made.job.job_id == 2


def test_jobs_stay_counted_when_their_worker_s_dispatcher_loses_its_partitions() -> None:
    balancer = Balancer(Policy(partitions=4))
    teach(balancer, "p", 1.0)
    up = worker("w", 2, balancer)
    balancer.dispatcher_up(announced("d", (0, 1, 2, 3), up))
    for job_id in (1, 2):
        balancer.submit(ready(job_id, max_running=2), job_id)
    made = balancer.assign(0, 10)
    assert len(made) == 2
    balancer.dispatcher_up(announced("e", (0, 1, 2, 3)))
    assert not balancer.slots.workers
    balancer.dispatcher_up(announced("d", (), up))
    balancer.submit(ready(3, max_running=2), 3)
    assert balancer.assign(0, 10) == []
    for each in made:
        balancer.finished(finished(each, 1.0), 0)
    assert why(balancer, 3) == "no free slot"
    elsewhere = msgspec.structs.replace(up, dispatcher="e", connected_ms=1)
    balancer.dispatcher_up(announced("e", (0, 1, 2, 3), elsewhere))
    assert [each.job.job_id for each in balancer.assign(0, 10)] == [3]


def test_slots_in_partitions_that_do_not_exist_are_left_alone() -> None:
    balancer = Balancer(Policy(partitions=2))
    odd = msgspec.structs.replace(worker("w", 4, balancer), partitions=(-1, 1, 2, 9_999))
    balancer.worker_up(odd)
    balancer.dispatcher_up(announced("d", (-3, 1, 50), odd))
    for job_id in range(4):
        balancer.submit(ready(job_id), job_id)
    assert [made.partition for made in balancer.assign(0, 10)] == [1]
    assert [load.slots for load in balancer.partitions()] == [0, 1]
