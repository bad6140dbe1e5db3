"""Decides that jobs of two installations with the same ids are not taken for each other."""

import msgspec

from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Policy
from control.model.numbers import JobId
from tests.core.balancer.balancing import finished, ready, worker


def test_two_jobs_with_one_id_are_both_executed_one_after_the_other() -> None:
    """A record of another installation names a job of ours; which is foreign, the state knows."""
    for ours in (0, 1):
        balancer = Balancer(Policy(partitions=4))
        balancer.worker_up(worker("w", 2, balancer))
        other = msgspec.structs.replace(ready(1), run_id=7, attempt=2)
        jobs = [ready(1), other] if ours == 0 else [other, ready(1)]
        assert all(balancer.submit(job, place) for place, job in enumerate(jobs))
        for job in jobs:
            (made,) = balancer.assign(0, 100)
            assert made.job == job
            balancer.finished(finished(made), 0)
        assert balancer.superseded == []


def test_the_end_of_another_installations_job_is_not_taken_for_that_of_ours() -> None:
    """It has the ids of a run and a job that are submitted later."""
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 2, balancer))
    other = msgspec.structs.replace(ready(1), pipeline="foreign")
    for place, job in enumerate((other, ready(1))):
        assert balancer.submit(job, place)
        (made,) = balancer.assign(0, 100)
        assert made.job == job
        balancer.finished(msgspec.structs.replace(finished(made), pipeline=job.pipeline), 0)
    assert not balancer.submit(ready(1), 2)


def test_two_jobs_with_the_ids_of_one_are_both_executed() -> None:
    for ours in (0, 1):
        balancer = Balancer(Policy(partitions=4))
        balancer.worker_up(worker("w", 2, balancer))
        other = msgspec.structs.replace(ready(1), pipeline="foreign")
        jobs = [ready(1), other] if ours == 0 else [other, ready(1)]
        assert all(balancer.submit(job, place) for place, job in enumerate(jobs))
        for job in jobs:
            (made,) = balancer.assign(0, 100)
            assert made.job == job
            end = msgspec.structs.replace(finished(made), pipeline=job.pipeline)
            balancer.finished(end, 0)


def test_a_cancelled_job_is_not_executed_because_another_has_its_id() -> None:
    balancer = Balancer(Policy(partitions=4))
    other = msgspec.structs.replace(ready(1), run_id=7)
    balancer.submit(other, 1)
    balancer.submit(ready(1), 2)
    assert balancer.cancel(JobId(1), 1) == 1
    assert balancer.superseded == [2]
    balancer.worker_up(worker("w", 2, balancer))
    assert balancer.assign(0, 100) == []
