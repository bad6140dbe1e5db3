"""Decides how what waits at the balancer is grouped, counted, and ordered."""

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Policy
from control.core.balancer.queue_survey import Survey, queues
from control.model.api.queues import Queues
from control.model.bus.messages import JobReady
from control.model.numbers import JobId
from control.model.states import Speed
from tests.core.balancer.balancing import ready, worker

PIPELINES: Final = {"p": 0.5, "q": 8.0, "r": 60.0}  # How long their jobs take.
JOBS = st.fixed_dictionaries(
    {
        "pipeline": st.sampled_from(sorted(PIPELINES)),
        "client": st.sampled_from(["ann", "bob"]),
        "order": st.tuples(
            st.just(10), st.sampled_from([1, 10]), st.just(0), st.sampled_from([5, 10])
        ),
        "created_ms": st.integers(0, 10_000),
        "labels": st.sampled_from([(), ("gpu",)]),
    }
)


def waiting_at(balancer: Balancer, *jobs: JobReady) -> None:
    for job in jobs:
        balancer.submit(job, job.job_id)


def counts(found: Queues) -> list[tuple[str, str, int]]:
    return [(group.client, group.pipeline, group.jobs) for group in found.items]


def test_nothing_waits() -> None:
    found = queues(Balancer(Policy()), 10, 0)
    assert (found.items, found.reasons, found.groups_more) == ([], [], 0)
    assert [(each.speed, each.jobs, each.oldest_seconds) for each in found.classes] == [
        (Speed.FAST, 0, None),
        (Speed.SLOW, 0, None),
    ]


def test_jobs_of_one_name_that_wait_for_the_same_are_a_group() -> None:
    balancer = Balancer(Policy())
    waiting_at(
        balancer,
        ready(1, created_ms=1_000),
        ready(2, created_ms=2_000),
        ready(3, order=(1, 10, 0, 10), created_ms=5_000),
        ready(4, client="bob", created_ms=3_000),
        ready(5, pipeline="q", created_ms=4_000),
    )
    balancer.assign(6_000, 10)
    found = queues(balancer, 10, 6_000)
    assert counts(found) == [("ann", "p", 3), ("bob", "p", 1), ("ann", "q", 1)]
    first = found.items[0]
    assert (first.job_id, first.run_id, first.order) == (3, 3, (1, 10, 0, 10))
    assert (first.stage, first.job, first.ready_seconds) == ("s", "j", 1.0)
    assert {group.reason for group in found.items} == {"no worker is connected"}
    assert [(each.reason, each.jobs) for each in found.reasons] == [("no worker is connected", 5)]
    unknown = balancer.estimates.expected(("p", "j"))
    held = {each.speed: each for each in found.classes}[first.speed]
    assert (held.jobs, held.expected_seconds, held.oldest_seconds) == (5, 5 * unknown, 5.0)


def test_what_is_left_out_is_counted() -> None:
    balancer = Balancer(Policy())
    waiting_at(balancer, *(ready(n, pipeline=f"p{n}", created_ms=n) for n in range(1, 8)))
    found = queues(balancer, 3, 10)
    assert [group.job_id for group in found.items] == [1, 2, 3]
    assert found.groups_more == 4
    assert sum(each.jobs for each in found.reasons) == 7
    assert sum(each.jobs for each in found.classes) == 7


def test_the_reasons_differ() -> None:
    balancer = Balancer(Policy())
    balancer.worker_up(worker("w", 4, balancer))
    waiting_at(balancer, *(ready(n, max_running=1) for n in range(1, 4)))
    waiting_at(balancer, *(ready(n, client="bob", labels=("gpu",)) for n in range(4, 9)))
    balancer.assign(0, 100)
    found = queues(balancer, 10, 0)
    assert [(each.reason, each.jobs) for each in found.reasons] == [
        (
            "no connected worker can run Sleep 1.0.0 with labels gpu: "
            "0 of 1 with the kind have the label gpu",
            5,
        ),
        ("ann is at max_running: 1 of 1", 2),
    ]
    assert found.items[0].job_id == 2


def test_one_client_sees_its_own() -> None:
    balancer = Balancer(Policy())
    waiting_at(balancer, ready(1), ready(2, client="bob"), ready(3, client="bob"))
    found = queues(balancer, 10, 0, "bob")
    assert counts(found) == [("bob", "p", 2)]
    assert sum(each.jobs for each in found.reasons) == 2
    assert sum(each.jobs for each in found.classes) == 2
    assert queues(balancer, 10, 0, "eve").items == []


def test_jobs_may_be_placed_while_it_is_looked_at() -> None:
    balancer = Balancer(Policy())
    waiting_at(balancer, *(ready(n, pipeline=f"p{n}") for n in range(1, 2_002)))
    survey = Survey(balancer)
    steps = 1
    while survey.step():
        steps += 1
        balancer.cancel(JobId(2_001), 1)  # It is among the last.
        waiting_at(balancer, ready(3_000, pipeline="late"))
    assert steps == 5
    found = survey.result(10, 0)
    assert sum(each.jobs for each in found.classes) == 2_000


@settings(max_examples=100)
@given(st.lists(JOBS, max_size=40), st.integers(1, 3), st.booleans())
def test_groups_are_complete_and_in_the_order_of_placing(
    specs: list[dict[str, Any]], slots: int, gpu: bool
) -> None:
    balancer = Balancer(Policy(partitions=2))
    balancer.recall((name, "j", [seconds] * 5) for name, seconds in PIPELINES.items())
    balancer.worker_up(worker("w", slots, balancer, ("gpu",) if gpu else ()))
    balancer.assign(0, 1)
    waiting_at(balancer, *(ready(n, **spec) for n, spec in enumerate(specs, 1)))
    balancer.assign(20_000, 1_000)
    found = queues(balancer, 1_000, 20_000)
    waiting = len(balancer.waiting.jobs)
    assert sum(group.jobs for group in found.items) == waiting
    assert sum(each.jobs for each in found.reasons) == waiting
    assert sum(each.jobs for each in found.classes) == waiting
    names = [(group.reason, group.client, group.pipeline, group.job) for group in found.items]
    assert len(set(names)) == len(names)
    # One that can place everything takes the heads of the groups in this very order.
    balancer.worker_up(worker("large", 100, balancer, ("gpu",)))
    placed = [made.job.job_id for made in balancer.assign(20_000, 1_000)]
    assert len(placed) == waiting or balancer.waiting.causes()  # Slow ones leave a reserve.
    heads = [group.job_id for group in found.items]
    assert [job_id for job_id in placed if job_id in heads] == [
        job_id for job_id in heads if job_id in placed
    ]
