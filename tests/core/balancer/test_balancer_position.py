"""Decides that the position a job is told is how many are placed before it."""

from hypothesis import given
from hypothesis import strategies as st

from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Policy
from control.model.numbers import JobId
from control.model.states import Outcome
from tests.core.balancer.balancing import finished, ready, teach, worker

JOB = st.tuples(
    st.integers(0, 1),  # Priority.
    st.sampled_from(["short", "mid", "long"]),
    st.sampled_from("ab"),
    st.integers(0, 3000),  # When its run arrived.
)


@given(jobs=st.lists(JOB, min_size=1, max_size=30))
def test_as_many_are_placed_before_a_job_as_was_told(
    jobs: list[tuple[int, str, str, int]],
) -> None:
    balancer = Balancer(Policy(partitions=2))
    for pipeline, seconds in (("short", 1.0), ("mid", 5.0), ("long", 20.0)):
        teach(balancer, pipeline, seconds, 64)
    for job_id, (level, pipeline, client, created_ms) in enumerate(jobs):
        job = ready(
            job_id,
            order=(level, 0, 0, 0),
            pipeline=pipeline,
            client=client,
            created_ms=1_700_000_000_000 + created_ms,
        )
        balancer.submit(job, job_id)
    told = {}
    for job_id in range(len(jobs)):
        waits = balancer.waits(JobId(job_id))
        assert waits is not None
        assert not waits.at_least
        told[job_id] = waits.ahead
    balancer.worker_up(worker("w", 1, balancer))
    for before in range(len(jobs)):
        (made,) = balancer.assign(0, 10)
        assert told[made.job.job_id] == before
        balancer.finished(finished(made, outcome=Outcome.FAILED), 0)  # Which teaches nothing.
