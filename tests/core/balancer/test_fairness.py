"""Decides how far greedy clients are put back, and that in the end nobody is left waiting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.balancer.balancer import Balancer
from control.core.balancer.fairness import FAIR_SHARES, FAIR_WEIGHT, Fairness, bucket_of
from control.core.balancer.job_queue import AGE_WEIGHT
from control.core.balancer.policy import Policy
from tests.core.balancer.balancing import finished, ready, teach, worker


def test_a_client_alone_is_never_put_back() -> None:
    fairness = Fairness()
    for _ in range(1000):
        assert fairness.delay_s("ann", 1.0, 4) == 0.0
        fairness.add("ann", 1.0)


def test_who_has_queued_beyond_the_due_is_put_back_and_others_are_not() -> None:
    fairness = Fairness()
    for _ in range(100):
        fairness.add("greedy", 1.0)
    for client in ("ann", "bob", "cid"):
        fairness.add(client, 1.0)
    beyond = 100 - FAIR_SHARES * 103 / 4
    assert fairness.delay_s("greedy", 1.0, 10) == pytest.approx(FAIR_WEIGHT * beyond * 3 / 10)
    assert fairness.delay_s("ann", 1.0, 10) == 0.0
    assert fairness.delay_s("new", 1.0, 10) == 0.0


def test_longer_work_does_not_count_against_shorter() -> None:
    fairness = Fairness()
    for _ in range(100):
        fairness.add("greedy", 60.0)
    for client in "abcdef":
        fairness.add(client, 0.5)
    assert fairness.delay_s("greedy", 0.5, 10) == 0.0
    assert fairness.delay_s("greedy", 60.0, 10) > 0.0


@given(data=st.data(), jobs=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 1e5))))
def test_when_everything_is_gone_nothing_is_left(
    data: st.DataObject, jobs: list[tuple[str, float]]
) -> None:
    fairness = Fairness()
    for client, expected_s in jobs:
        assert fairness.delay_s(client, expected_s, 4) >= 0.0
        fairness.add(client, expected_s)
    assert fairness.clients == len({client for client, _ in jobs})
    for client, expected_s in data.draw(st.permutations(jobs)):
        fairness.remove(client, expected_s)
    assert fairness.clients == 0
    assert fairness.delay_s("a", 1.0, 4) == 0.0


@given(first=st.floats(0.0, 1e6), second=st.floats(0.0, 1e6))
def test_longer_jobs_are_in_no_smaller_bucket(first: float, second: float) -> None:
    shorter, longer = sorted((first, second))
    assert 0 <= bucket_of(shorter) <= bucket_of(longer) < 12


def test_an_old_long_job_is_not_overtaken_for_ever() -> None:
    """Short jobs come as fast as all slots can do them: it has aged enough after A (x - y)."""
    long_s, short_s, slots = 3.0, 1.0, 4
    balancer = Balancer(Policy(slow_threshold_s=1000.0))
    teach(balancer, "long", long_s, 64)
    teach(balancer, "short", short_s, 64)
    balancer.worker_up(worker("w", slots, balancer))
    bound_s = AGE_WEIGHT * (long_s - short_s)
    balancer.submit(ready(0, pipeline="long"), 0)
    next_id, placed_s, overtaken = 1, -1, 0
    for now_s in range(round(1.1 * bound_s) + 10):
        for _ in range(slots):
            balancer.submit(ready(next_id, pipeline="short", created_ms=now_s * 1000), next_id)
            next_id += 1
        made = balancer.assign(now_s * 1000, 100)
        assert len(made) == slots
        if any(each.job.job_id == 0 for each in made):
            placed_s = now_s
            break
        overtaken += len(made)
        for each in made:
            balancer.finished(finished(each, short_s), now_s * 1000 + 1000)
    assert 0 <= placed_s <= bound_s + 1
    assert overtaken >= slots * 0.9 * bound_s  # So long it is right that it waits.


def test_a_flooding_client_s_jobs_are_all_placed_though_others_come_for_ever() -> None:
    slots, flood, each_s = 4, 200, 1.0
    balancer = Balancer(Policy())
    for pipeline in ("flood", "other"):
        teach(balancer, pipeline, each_s, 64)
    balancer.worker_up(worker("w", slots, balancer))
    for job_id in range(flood):
        balancer.submit(ready(job_id, pipeline="flood", client="greedy"), job_id)
    next_id, placed, late_s = 1000, set[int](), 0
    # The others take three slots of four, so the flood has one for itself at the worst.
    for now_s in range(2 * flood):
        for client in ("ann", "bob", "cid"):
            job = ready(next_id, pipeline="other", client=client, created_ms=now_s * 1000)
            balancer.submit(job, next_id)
            next_id += 1
        for made in balancer.assign(now_s * 1000, 100):
            if made.job.client == "greedy":
                placed.add(made.job.job_id)
                late_s = now_s
            balancer.finished(finished(made, each_s), now_s * 1000)
    assert placed == set(range(flood))
    assert late_s <= flood
