"""Decides that priority is global, slow work leaves a reserve, and what is counted is true."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Assignment, Policy
from control.core.balancer.slow_threshold import learned_threshold
from control.core.fleet.partition_classes import partition_classes, slot_partitions
from control.model.bus.messages import Hold
from control.model.numbers import JobId
from control.model.states import Outcome, Speed
from tests.core.balancer.balancing import announced, finished, ready, teach, why, worker


@given(orders=st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=30))
def test_with_one_slot_jobs_run_in_strict_order(orders: list[tuple[int, int, int, int]]) -> None:
    balancer = Balancer(Policy())
    for at, order in enumerate(orders):
        balancer.submit(ready(at, order=order, pipeline=f"p{at % 3}"), at)
    balancer.worker_up(worker("w", 1, balancer))
    ran = []
    for _ in orders:
        (made,) = balancer.assign(0, 100)
        ran.append(made.job.order)
        balancer.finished(finished(made, 1.0), 0)
    assert ran == sorted(orders)


def test_among_equals_shorter_work_goes_first_until_the_longer_has_aged() -> None:
    balancer = Balancer(Policy())
    teach(balancer, "long", 10.0)
    teach(balancer, "short", 1.0)
    balancer.submit(ready(1, pipeline="long", created_ms=0), 1)
    balancer.submit(ready(2, pipeline="short", created_ms=1_000_000), 2)
    balancer.submit(ready(3, pipeline="short", created_ms=2_000_000), 3)
    balancer.worker_up(worker("w", 1, balancer))
    ran = []
    for _ in range(3):
        (made,) = balancer.assign(2_000_000, 1)
        ran.append(made.job.job_id)
        balancer.finished(finished(made, 1.0 if made.job.pipeline == "short" else 10.0), 0)
    assert ran == [2, 1, 3]


def test_slow_jobs_leave_a_reserve() -> None:
    balancer = Balancer(Policy())
    teach(balancer, "slow", 60.0)
    teach(balancer, "fast", 0.5)
    balancer.worker_up(worker("w", 8, balancer))
    for at in range(20):
        balancer.submit(ready(at, pipeline="slow"), at)
    assert len(balancer.assign(0, 100)) == 7
    assert "kept for fast ones" in (why(balancer, 19))
    balancer.submit(ready(100, pipeline="fast"), 100)
    (made,) = balancer.assign(0, 100)
    assert (made.job.job_id, made.speed) == (100, Speed.FAST)


def test_work_goes_to_its_own_class_first_and_borrows_then() -> None:
    balancer = Balancer(Policy())
    teach(balancer, "fast", 1.0)
    balancer.worker_up(worker("w", 10, balancer))
    for at in range(10):
        balancer.submit(ready(at, pipeline="fast"), at)
    made = balancer.assign(0, 100)
    assert [balancer.classes[m.partition] for m in made] == [Speed.FAST] * 4 + [Speed.SLOW] * 6


def test_without_lending_there_are_walls() -> None:
    balancer = Balancer(Policy(lend=False))
    teach(balancer, "fast", 1.0)
    balancer.worker_up(worker("w", 10, balancer))
    for at in range(10):
        balancer.submit(ready(at, pipeline="fast"), at)
    assert len(balancer.assign(0, 100)) == 4


def test_a_client_at_its_limit_waits_and_others_do_not() -> None:
    balancer = Balancer(Policy())
    balancer.worker_up(worker("w", 4, balancer))
    for at in range(4):
        balancer.submit(ready(at, client="ann", max_running=1, order=(0, 0, 0, 0)), at)
    balancer.submit(ready(9, client="bob"), 9)
    made = balancer.assign(0, 100)
    assert sorted(m.job.job_id for m in made) == [0, 9]
    assert "max_running: 1 of 1" in (why(balancer, 1))
    balancer.finished(finished(made[0]), 0)
    assert [m.job.job_id for m in balancer.assign(0, 100)] == [1]


def test_labels_wait_for_a_worker_that_has_them() -> None:
    balancer = Balancer(Policy())
    balancer.worker_up(worker("plain", 4, balancer))
    balancer.submit(ready(1, labels=("gpu",)), 1)
    balancer.submit(ready(2), 2)
    assert [m.job.job_id for m in balancer.assign(0, 100)] == [2]
    assert "labels gpu" in (why(balancer, 1))
    balancer.worker_up(worker("big", 1, balancer, labels=("gpu", "ssd")))
    (made,) = balancer.assign(0, 100)
    assert (made.job.job_id, made.worker) == (1, "big")


def test_only_short_jobs_are_sent_ahead() -> None:
    balancer = Balancer(Policy())
    teach(balancer, "tiny", 0.001)
    teach(balancer, "long", 5.0)
    balancer.worker_up(worker("w", 2, balancer))
    for at in range(200):
        balancer.submit(ready(at, pipeline="tiny"), at)
    assert 2 < len(balancer.assign(0, 1000)) <= 2 + 2 * 40 + 1
    other = Balancer(Policy())
    teach(other, "long", 5.0)
    other.worker_up(worker("w", 2, other))
    for at in range(10):
        other.submit(ready(at, pipeline="long"), at)
    assert len(other.assign(0, 1000)) <= 2


def test_a_job_may_come_back_to_the_place_it_left() -> None:
    balancer = Balancer(Policy())
    for at in range(3):
        balancer.submit(ready(at), at)
    for _ in range(2):
        for at in (1, 2):  # Not the head: their old entries stay in the heap.
            moved = balancer.reorder(JobId(at), ready(at).order)
            assert moved is not None
            assert balancer.submit(*moved)
    balancer.worker_up(worker("w", 8, balancer))
    assert [made.job.job_id for made in balancer.assign(0, 100)] == [0, 1, 2]


def test_old_news_of_a_worker_counts_no_job_again() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 2, balancer))
    balancer.submit(ready(1), 1)
    (made,) = balancer.assign(0, 100)
    hold = Hold(
        job_id=JobId(1),
        attempt=1,
        client="ann",
        pipeline="p",
        name="j",
        speed=made.speed,
        expected=made.expected_s,
    )
    balancer.finished(finished(made, 0.5, Outcome.DONE), 0)
    drains = msgspec.structs.replace(worker("w", 2, balancer), draining=True, holds=(hold,))
    balancer.worker_up(drains)
    assert not balancer.outstanding.jobs
    assert not balancer.outstanding.clients


def test_a_newer_attempt_takes_the_place_of_one_that_came_back() -> None:
    balancer = Balancer(Policy(partitions=4))
    again = msgspec.structs.replace(ready(1), attempt=2)
    assert balancer.submit(ready(1), 1)
    assert balancer.submit(again, 2)
    assert not balancer.submit(again, 3)
    assert not balancer.submit(ready(1), 4)
    assert balancer.superseded == [1]
    balancer.worker_up(worker("w", 2, balancer))
    assert [made.place for made in balancer.assign(0, 100)] == [2]
    assert not balancer.submit(ready(1), 5)


def test_what_was_cancelled_where_it_ran_is_not_placed_again() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 2, balancer))
    balancer.submit(ready(1), 1)
    assert balancer.assign(0, 100)
    assert balancer.cancel(JobId(1), 1) is None
    assert not balancer.submit(ready(1), 2)  # Its worker gave it back.
    assert not balancer.outstanding.jobs


def test_cancelled_before_it_came_is_never_placed() -> None:
    balancer = Balancer(Policy())
    assert balancer.cancel(JobId(5), 1) is None
    assert not balancer.submit(ready(5), 50)
    assert balancer.submit(ready(6), 60)
    assert balancer.cancel(JobId(6), 1) == 60
    balancer.worker_up(worker("w", 4, balancer))
    assert balancer.assign(0, 100) == []


def test_the_threshold_is_learned_where_it_pays() -> None:
    cut = learned_threshold([(0.01, 900), (1.0, 100)])
    assert cut is not None
    assert 0.01 < cut < 1.0
    assert learned_threshold([(0.5, 50), (1.0, 50)]) is None
    assert learned_threshold([(1.0, 1)]) is None
    assert learned_threshold([(0.01, 1), (1.0, 100)]) is None  # The short ones are not the many.


@given(partitions=st.integers(1, 50), share=st.floats(0, 1), slots=st.integers(1, 60))
def test_slots_are_spread_evenly(partitions: int, share: float, slots: int) -> None:
    classes = partition_classes(partitions, share)
    assert len(classes) == partitions
    counts = [0] * partitions
    for partition in slot_partitions([0] * partitions, slots, classes):
        counts[partition] += 1
    assert max(counts) - min(counts) <= 1


class Conservation(RuleBasedStateMachine):
    """Any sequence of events, also invented ones, leaves the counts what is really outstanding."""

    def __init__(self) -> None:
        super().__init__()
        self.balancer = Balancer(Policy(partitions=4))
        self.placed: dict[int, Assignment] = {}
        self.waiting: set[int] = set()
        self.next_id = 0

    @rule(pipeline=st.sampled_from("xyz"), level=st.integers(0, 2), client=st.sampled_from("ab"))
    def submit(self, pipeline: str, level: int, client: str) -> None:
        self.next_id += 1
        job = ready(
            self.next_id,
            pipeline=pipeline,
            client=client,
            order=(level, 0, 0, 0),
            max_running=3 if client == "b" else None,
        )
        assert self.balancer.submit(job, self.next_id)
        self.waiting.add(self.next_id)

    @rule(
        name=st.sampled_from(["w1", "w2"]),
        dispatcher=st.sampled_from("de"),
        connected_ms=st.integers(0, 2),
        partitions=st.lists(st.integers(-1, 4), max_size=4),
    )
    def worker_up(
        self, name: str, dispatcher: str, connected_ms: int, partitions: list[int]
    ) -> None:
        info = msgspec.structs.replace(
            worker(name, len(partitions), self.balancer),
            dispatcher=dispatcher,
            connected_ms=connected_ms,
            partitions=tuple(partitions),
        )
        self.balancer.worker_up(info)

    @rule(name=st.sampled_from(["w1", "w2"]), dispatcher=st.sampled_from("de"))
    def worker_down(self, name: str, dispatcher: str) -> None:
        self.balancer.worker_down(name, dispatcher)

    @rule(
        dispatcher=st.sampled_from("de"),
        partitions=st.sets(st.integers(-1, 4)),
        slots=st.integers(1, 4),
    )
    def dispatcher_up(self, dispatcher: str, partitions: set[int], slots: int) -> None:
        info = worker("w1", slots, self.balancer)
        info = msgspec.structs.replace(info, dispatcher=dispatcher, connected_ms=1)
        self.balancer.dispatcher_up(announced(dispatcher, tuple(partitions), info))

    @rule()
    def assign(self) -> None:
        for made in self.balancer.assign(0, 1000):
            assert made.job.job_id in self.waiting
            self.waiting.remove(made.job.job_id)
            self.placed[made.job.job_id] = made

    @precondition(lambda self: self.placed)
    @rule(data=st.data(), outcome=st.sampled_from(list(Outcome)), twice=st.booleans())
    def finish(self, data: st.DataObject, outcome: Outcome, *, twice: bool) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.placed)))
        made = self.placed.pop(job_id)
        for _ in range(1 + twice):
            self.balancer.finished(finished(made, 0.5, outcome), 0)

    @precondition(lambda self: self.placed)
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.placed)))
        made = self.placed.pop(job_id)
        self.balancer.submit(made.job, made.place + 1000)
        self.waiting.add(job_id)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.balancer.cancel(JobId(job_id), 1) is not None
        self.waiting.remove(job_id)

    @invariant()
    def counts_are_true(self) -> None:
        balancer = self.balancer
        assert set(balancer.waiting.jobs) == self.waiting
        assert set(balancer.outstanding.jobs) == set(self.placed)
        slow = sum(known.speed == Speed.SLOW for known in balancer.outstanding.jobs.values())
        assert balancer.outstanding.slow == slow
        workers = balancer.slots.workers
        assert balancer.slots.total == sum(info.slots for info in workers.values())
        for name, info in workers.items():
            mine = [m for m in self.placed.values() if m.worker == name]
            assert info.outstanding <= len(mine)
            assert sum(lane.free for lane in info.lanes.values()) == (info.slots - info.outstanding)
        for client in "ab":
            running = sum(m.job.client == client for m in self.placed.values())
            assert balancer.outstanding.clients.get(client, 0) == running

    @invariant()
    def nothing_idles_beside_work(self) -> None:
        self.assign()
        for job_id in self.waiting:
            assert why(self.balancer, job_id) != "its turn comes next"


TestConservation = pytest.mark.slow(Conservation.TestCase)


def test_an_end_that_names_another_run_ends_nothing() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 1, balancer))
    balancer.submit(ready(1), 1)
    (made,) = balancer.assign(0, 100)
    foreign = msgspec.structs.replace(finished(made), run_id=7)
    balancer.finished(foreign, 0)
    assert list(balancer.outstanding.jobs) == [1]
    # Nor a job that has not come yet.
    balancer.finished(msgspec.structs.replace(foreign, job_id=2), 0)
    assert balancer.submit(ready(2), 2)
    balancer.finished(finished(made), 0)
    assert [each.job.job_id for each in balancer.assign(0, 100)] == [2]


def test_an_older_end_said_again_is_no_news() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 1, balancer))
    second = msgspec.structs.replace(ready(1), attempt=2)
    balancer.submit(second, 1)
    (made,) = balancer.assign(0, 100)
    balancer.finished(finished(made), 0)
    balancer.finished(msgspec.structs.replace(finished(made), attempt=1), 0)
    assert not balancer.submit(second, 2)


def test_an_end_that_names_another_run_takes_no_end_away() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 1, balancer))
    balancer.submit(ready(1), 1)
    (made,) = balancer.assign(0, 100)
    balancer.finished(finished(made), 0)
    balancer.finished(msgspec.structs.replace(finished(made), run_id=7), 0)
    assert not balancer.submit(ready(1), 2)
