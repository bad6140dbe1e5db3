"""Decides that what changes for waiting jobs is heeded at once, whatever event changed it."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.balancer.balancer import Balancer
from control.core.balancer.fairness import FAIR_MAX_S
from control.core.balancer.policy import Assignment, Policy
from control.model.numbers import JobId
from control.model.states import Outcome, Speed
from tests.core.balancer.balancing import finished, ready, teach, why, worker


def ends_on(balancer: Balancer, name: str, pipeline: str, seconds: float, times: int) -> None:
    """Ends of jobs that were not placed here: they teach of the worker and the pipeline."""
    for at in range(times):
        made = Assignment(ready(10_000 + at, pipeline=pipeline), 0, 0, name, Speed.FAST, 1.0)
        balancer.finished(finished(made, seconds), 0)


def with_straggler() -> Balancer:
    """`well` and `sick` have a slot each; `sick` takes five times as long."""
    balancer = Balancer(Policy(partitions=2, slow_threshold_s=1000.0))
    teach(balancer, "p", 10.0, 64)
    teach(balancer, "q", 60.0, 64)
    balancer.worker_up(worker("well", 1, balancer))
    balancer.worker_up(worker("sick", 1, balancer))
    ends_on(balancer, "well", "p", 10.0, 16)
    ends_on(balancer, "sick", "p", 50.0, 16)
    assert set(balancer.learning.slowness) == {"sick"}
    return balancer


def test_a_straggler_that_connects_anew_is_none_until_it_is_found_to_be() -> None:
    balancer = with_straggler()
    balancer.worker_down("sick", "d")
    balancer.worker_up(worker("sick", 1, balancer))
    assert not balancer.rules().stragglers
    assert balancer.slots.workers["sick"].slowness == 1.0
    for job_id in (1, 2):
        balancer.submit(ready(job_id), job_id)
    assert len(balancer.assign(0, 10)) == 2


def test_when_the_last_healthy_worker_drains_a_straggler_has_to_do() -> None:
    balancer = with_straggler()
    for job_id in (1, 2):
        balancer.submit(ready(job_id), job_id)
    (made,) = balancer.assign(0, 10)
    assert made.worker == "well"
    assert "straggler" in why(balancer, 2)
    balancer.drain("well")
    assert [made.worker for made in balancer.assign(0, 10)] == ["sick"]


def test_when_too_many_wait_a_straggler_has_to_do() -> None:
    balancer = with_straggler()
    for job_id in (1, 2):
        balancer.submit(ready(job_id), job_id)
    assert len(balancer.assign(0, 10)) == 1
    assert "straggler" in why(balancer, 2)
    for job_id in range(3, 20):  # Of other pipelines, which would take even longer there.
        balancer.submit(ready(job_id, pipeline="q"), job_id)
    assert [made.job.job_id for made in balancer.assign(0, 10)] == [2]
    assert not any(why(balancer, job_id) == "its turn comes next" for job_id in range(3, 20))


def test_jobs_that_are_fast_by_another_threshold_do_not_wait_for_slow_ones() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.threshold.seconds = 1.0
    teach(balancer, "slow", 60.0)
    teach(balancer, "middle", 8.0)
    balancer.worker_up(worker("w", 8, balancer))
    for job_id in range(10):
        balancer.submit(ready(job_id, pipeline="slow", order=(1, 0, 0, 0)), job_id)
    balancer.submit(ready(10, pipeline="middle"), 10)
    made = balancer.assign(0, 20)
    assert len(made) == 7  # The reserve is one slot.
    assert "kept for fast ones" in why(balancer, 10)
    # Ends of others, until the mix has been looked at and the threshold is at 30 s again.
    for at in range(32 * 5):
        other = Assignment(ready(1000 + at, pipeline="slow"), 0, 0, "elsewhere", Speed.SLOW, 60.0)
        balancer.finished(finished(other, 60.0), 0)
    assert balancer.threshold.seconds > 10.0
    (made_now,) = balancer.assign(0, 20)
    assert (made_now.job.job_id, made_now.speed) == (10, Speed.FAST)


def test_unknown_jobs_that_are_expected_to_be_fast_by_now_do_not_wait_for_slow_ones() -> None:
    balancer = Balancer(Policy(partitions=4))
    teach(balancer, "slow", 60.0)
    balancer.worker_up(worker("w", 8, balancer))
    for job_id in range(10):
        balancer.submit(ready(job_id, pipeline="slow", order=(1, 0, 0, 0)), job_id)
    balancer.submit(ready(10, pipeline="unknown"), 10)
    assert len(balancer.assign(0, 20)) == 7
    assert "kept for fast ones" in why(balancer, 10)  # 30 s are expected of it.
    for pipeline in "abcdefgh":
        ends_on(balancer, "elsewhere", pipeline, 0.1, 2)
    assert balancer.estimates.expected(("unknown", "j")) < 10.0
    assert [made.job.job_id for made in balancer.assign(0, 20)] == [10]


def test_a_job_that_says_a_higher_limit_wakes_its_client_s_others() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 4, balancer))
    for job_id in (1, 2):
        balancer.submit(ready(job_id, max_running=1), job_id)
    assert len(balancer.assign(0, 10)) == 1
    assert "max_running: 1 of 1" in why(balancer, 2)
    balancer.submit(ready(3, max_running=3), 3)
    assert sorted(made.job.job_id for made in balancer.assign(0, 10)) == [2, 3]


def test_running_jobs_of_a_pipeline_that_proves_slow_count_as_slow() -> None:
    """Else as many slow ones take the slots they leave, and the reserve is theirs all the time."""
    balancer = Balancer(Policy(partitions=4))
    teach(balancer, "turns", 0.1)
    balancer.worker_up(worker("w", 8, balancer))
    for job_id in range(20):
        balancer.submit(ready(job_id, pipeline="turns"), job_id)
    made = balancer.assign(0, 20)
    assert len(made) == 8
    for at in range(3):
        balancer.finished(finished(made[at], 1000.0, Outcome.DONE), 0)
    assert balancer.learning.speed(("turns", "j"), 100.0) == Speed.SLOW
    assert balancer.outstanding.slow == 5
    assert len(balancer.assign(0, 20)) == 2
    balancer.submit(ready(99, pipeline="fast"), 99)
    teach(balancer, "fast", 0.1)
    assert [made.job.job_id for made in balancer.assign(0, 20)] == [99]
    assert balancer.rules().slow_running == 7


def test_a_position_counts_jobs_of_the_same_moment() -> None:
    balancer = Balancer(Policy(partitions=4))
    teach(balancer, "p", 10.0)
    for job_id in range(5):
        balancer.submit(ready(job_id), job_id)
    found = [balancer.waits(JobId(job_id)) for job_id in range(5)]
    assert [waits.ahead for waits in found if waits is not None] == [0, 1, 2, 3, 4]


def test_what_was_put_back_by_guesses_is_weighed_anew_when_workers_are_known() -> None:
    balancer = Balancer(Policy(partitions=4))
    for client in range(5):
        balancer.submit(ready(9_000 + client, client=f"other-{client}"), 9_000 + client)
    for job_id in range(1_000):
        balancer.submit(ready(job_id, client="busy"), job_id)
    balancer.recall([("p", "j", [0.01] * 20)])
    balancer.worker_up(worker("w", 80, balancer))
    assert max(each.put_back_s for each in balancer.waiting.jobs.values()) < 10.0


def test_nobody_is_put_back_for_longer_than_an_hour() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 1, balancer))
    for client in range(5):
        balancer.submit(ready(90_000 + client, client=f"other-{client}"), 90_000 + client)
    for job_id in range(5_000):
        balancer.submit(ready(job_id, client="busy"), job_id)
    assert max(each.put_back_s for each in balancer.waiting.jobs.values()) == FAIR_MAX_S


def test_a_job_that_lost_its_worker_keeps_its_place() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 1, balancer))
    for client in range(5):
        order = (20, 10, 0, 10)
        balancer.submit(ready(900 + client, client=f"other-{client}", order=order), 900 + client)
    balancer.submit(ready(1, client="busy"), 1)
    (made,) = balancer.assign(0, 1)
    assert made.job.job_id == 1
    for job_id in range(2, 400):
        balancer.submit(ready(job_id, client="busy"), job_id)
    balancer.finished(finished(made, 1.0, Outcome.LOST), 0)
    again = msgspec.structs.replace(made.job, attempt=2)
    assert balancer.submit(again, 1_000)
    waits = balancer.waits(JobId(1))
    assert waits is not None
    assert waits.ahead == 0


def test_what_statistics_tell_is_heeded_by_what_waits() -> None:
    balancer = Balancer(Policy(partitions=4))
    teach(balancer, "slow", 60.0)
    balancer.worker_up(worker("w", 2, balancer))
    balancer.submit(ready(1, pipeline="slow"), 1)
    balancer.submit(ready(2, pipeline="told", order=(20, 0, 0, 0)), 2)
    assert [made.job.job_id for made in balancer.assign(0, 10)] == [1]
    assert "kept for fast ones" in why(balancer, 2)
    balancer.recall([("told", "j", [0.05] * 20)])
    assert [made.job.job_id for made in balancer.assign(0, 10)] == [2]


def test_running_jobs_are_of_the_class_that_the_threshold_makes_them() -> None:
    balancer = Balancer(Policy(partitions=4))
    teach(balancer, "middle", 20.0)
    balancer.worker_up(worker("w", 8, balancer))
    for job_id in range(7):
        balancer.submit(ready(job_id, pipeline="middle"), job_id)
    assert {made.speed for made in balancer.assign(0, 10)} == {Speed.FAST}
    for at in range(32 * 3):
        other = Assignment(ready(1000 + at, pipeline="tiny"), 0, 0, "elsewhere", Speed.FAST, 0.01)
        balancer.finished(finished(other, 0.01), 0)
    assert balancer.threshold.seconds < 10.0
    assert balancer.outstanding.slow == 7


def test_an_attempt_that_has_ended_is_not_placed_again() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 2, balancer))
    balancer.submit(ready(1), 1)
    (made,) = balancer.assign(0, 10)
    balancer.finished(finished(made, 1.0), 0)
    assert not balancer.submit(ready(1), 2)


def test_without_lending_short_jobs_are_sent_ahead_in_their_own_class() -> None:
    balancer = Balancer(Policy(partitions=4, lend=False))
    teach(balancer, "tiny", 0.001)
    balancer.worker_up(worker("w", 4, balancer))
    for job_id in range(40):
        balancer.submit(ready(job_id, pipeline="tiny"), job_id)
    made = balancer.assign(0, 100)
    assert len(made) > 4
    assert {balancer.classes[each.partition] for each in made} == {Speed.FAST}


@pytest.mark.slow
@given(
    st.lists(st.sampled_from((0.5, 1.0, 4.0, 8.0, 40.0)), min_size=20, max_size=60), st.randoms()
)
def test_no_job_whose_turn_it_is_waits_beside_a_free_slot(
    lengths: list[float], chance: random.Random
) -> None:
    """Unknown names are taken for slow at first, and later for fast, while many of them wait."""
    balancer = Balancer(Policy(partitions=10))
    balancer.worker_up(worker("w", 6, balancer))
    for job_id in range(1, 81):
        balancer.submit(ready(job_id, pipeline=f"p{job_id % 41}"), job_id)
    running: list[Assignment] = []
    for at, seconds in enumerate(lengths):
        running += balancer.assign(at, 100)
        if len(balancer.outstanding.jobs) < balancer.slots.total:
            assert all(
                why(balancer, each) != "its turn comes next" for each in balancer.waiting.jobs
            )
        # Two of them take for ever: the others are what wakes those that wait.
        made = running.pop(chance.randrange(min(2, len(running) - 1), len(running)))
        balancer.finished(finished(made, seconds), at)


def test_who_was_parked_for_the_reserve_is_not_forgotten_with_its_representative() -> None:
    """The first of several failed for another cause and was cancelled: the next has its turn."""
    balancer = Balancer(Policy(partitions=1))
    jobs = [(1, "y", 0), (2, "x", 1), (3, "x", 0), (4, "y", 0)]
    for job_id, pipeline, level in jobs:
        order = (10, 10, level, 10)
        assert balancer.submit(ready(job_id, pipeline=pipeline, order=order), job_id)
    balancer.worker_up(worker("w", 1, balancer))
    (first,) = balancer.assign(0, 10)
    balancer.finished(finished(first), 0)
    (second,) = balancer.assign(0, 10)
    assert (first.job.job_id, second.job.job_id) == (1, 4)
    balancer.cancel(JobId(3), 1)
    balancer.finished(finished(second), 0)
    assert [made.job.job_id for made in balancer.assign(0, 10)] == [2]
