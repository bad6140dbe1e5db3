"""Decides that each placement is answered for exactly once, whatever workers and sockets do."""

import itertools

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.model import limits
from control.model.bus.messages import CancelJob, Overran, Started, Unstarted, WorkerUp
from control.model.names import Topic
from control.model.states import Outcome, Speed
from control.model.worker import wire
from control.model.worker.isolation import Isolation
from control.model.worker.wire import Lease
from tests.core.dispatcher.leasing import (
    CLASSES,
    LATER,
    assigned,
    connect,
    ended,
    hello,
    place,
    place_of,
    placed,
    results,
)


def test_a_result_counts_once_and_is_acknowledged_each_time() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    out = StepEffects()
    leases.ended("w", ended(lease), out, 10)
    leases.ended("w", ended(lease), out, 11)
    assert len(results(out)) == 1
    assert out.receipts == [place_of(0)]
    assert out.acks["w"] == [lease, lease]
    assert leases.refused == 1


def test_what_may_have_begun_began_after_it_was_ready_wherever_the_clock_was_set() -> None:
    leases = Leases("d", CLASSES, 0)
    leases.ahead_ms = -5_000  # Set back since.
    out = StepEffects()
    waits = placed(1, "w")
    waits = msgspec.structs.replace(waits, job=msgspec.structs.replace(waits.job, ready_ms=900))
    leases.place(waits, place_of(0), out, 100)
    leases.expire(out, LATER + 100)
    (lost,) = results(out)
    assert lost.outcome == Outcome.LOST
    assert lost.started_ms is not None
    assert lost.ready_ms <= lost.started_ms <= lost.finished_ms


def test_whose_job_it_is_only_those_are_told_who_know_the_field() -> None:
    leases, out = Leases("d", CLASSES, 0), StepEffects()
    connect(leases, "old")
    leases.connected(msgspec.structs.replace(hello("new"), isolation=Isolation()), out, 0)
    told = {}
    for number, worker in enumerate(("old", "new")):
        (frame,) = place(leases, number, worker, number).frames[worker]
        told[worker] = wire.ENCODER.encode(frame)
    assert b"client" not in told["old"]
    assert b'"client":"ann"' in told["new"]
    assert leases.links["new"].info.isolation == Isolation()


def test_only_the_holder_is_believed() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    connect(leases, "thief")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    out = StepEffects()
    leases.ended("thief", ended(lease), out, 10)
    assert not results(out)
    assert leases.refused == 1


def test_a_worker_that_comes_back_in_time_goes_on() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    out = StepEffects()
    leases.began("w", wire.Began(lease=lease, started_ms=1), out, 50)
    leases.disconnected("w", "closed", out, 100)
    again = connect(leases, "w", lease, now_ms=200)
    assert not assigned(again, "w")
    leases.expire(out, 10_000)
    leases.ended("w", ended(lease), out, 10_001)
    assert [result.outcome for result in results(out)] == [Outcome.DONE]


def test_what_had_begun_is_lost_and_what_had_not_goes_back() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    (begun,) = assigned(place(leases, 5, "w", 0), "w")
    place(leases, 6, "w", 1)
    out = StepEffects()
    leases.began("w", wire.Began(lease=begun, started_ms=1), out, 50)
    leases.disconnected("w", "closed", out, 100)
    assert leases.next_ms() == 100 + round(limits.RECONNECT_GRACE_S * 1000)
    leases.expire(out, 100 + round(limits.RECONNECT_GRACE_S * 1000))
    assert [(r.job_id, r.outcome) for r in results(out)] == [(5, Outcome.LOST)]
    back = msgspec.structs.replace(placed(6, "w").job, returned=1)
    assert [r.message for r in out.records if r.topic == Topic.TASK_RUNS] == [back]
    assert sorted(out.receipts) == [place_of(0), place_of(1)]
    late = StepEffects()
    leases.connected(hello("w", begun), late, 5_000)
    welcome = late.frames["w"][0]
    assert isinstance(welcome, wire.Welcome)
    assert welcome.drop == (begun,)


def test_after_a_restart_workers_keep_what_they_run() -> None:
    lease = Lease(5, 1, 0)
    for record_first in (True, False):
        leases = Leases("d", CLASSES, 0)
        if record_first:
            assert not place(leases, 5, "w", 0).frames
            out = connect(leases, "w", lease)
        else:
            out = connect(leases, "w", lease)
            assert not place(leases, 5, "w", 0).frames
        welcome = out.frames["w"][0]
        assert isinstance(welcome, wire.Welcome)
        assert welcome.drop == ()
        leases.expire(out, LATER)
        leases.ended("w", ended(lease), out, LATER)
        assert [result.outcome for result in results(out)] == [Outcome.DONE]


def test_after_a_restart_a_result_may_come_before_its_record() -> None:
    lease = Lease(5, 1, 0)
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w", lease)
    out = StepEffects()
    leases.ended("w", ended(lease), out, 1)
    assert not out.acks["w"]
    leases.place(placed(5, "w"), 0, out, 2)
    assert [result.outcome for result in results(out)] == [Outcome.DONE]
    assert out.acks["w"] == [lease]


def test_after_a_restart_what_nobody_claims_is_tried_again() -> None:
    leases = Leases("d", CLASSES, 0)
    place(leases, 5, "gone", 0)
    out = StepEffects()
    leases.expire(out, LATER)
    assert [result.outcome for result in results(out)] == [Outcome.LOST]


def test_a_placement_with_a_worker_that_is_gone_goes_back() -> None:
    leases = Leases("d", CLASSES, 0)
    out = place(leases, 5, "gone", 3, now_ms=LATER)
    assert out.receipts == [place_of(3)]
    assert [record.topic for record in out.records] == [Topic.TASK_RUNS]


def test_a_cancelled_job_is_stopped_where_it_is() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    out = StepEffects()
    leases.cancel(CancelJob(job_id=5, attempt=2, reason="another attempt"), out)
    assert not out.frames["w"]
    leases.cancel(CancelJob(job_id=5, attempt=1, reason="by ann"), out)
    assert out.frames["w"] == [wire.Cancel(lease=lease, reason="by ann")]


STOP = CancelJob(job_id=5, attempt=1, reason="by ann")


def test_a_job_cancelled_while_its_worker_is_away_is_stopped_when_it_is_back() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    out = StepEffects()
    leases.began("w", wire.Began(lease=lease, started_ms=1), out, 1)
    leases.disconnected("w", "closed", out, 2)
    leases.cancel(STOP, out)
    back = connect(leases, "w", lease, now_ms=4)
    assert isinstance(back.frames["w"][0], wire.Welcome)
    assert back.frames["w"][1:] == [wire.Cancel(lease=lease, reason="by ann")]


@pytest.mark.parametrize("order", list(itertools.permutations(["read", "hello", "began"])))
def test_what_runs_after_a_restart_is_told_as_started_again(order: tuple[str, ...]) -> None:
    """Whoever cancelled it meanwhile says so again then."""
    if order.index("began") < order.index("hello"):
        return
    leases, lease, out = Leases("d", CLASSES, 0), Lease(5, 1, 0), StepEffects()
    steps = {
        "read": lambda: leases.place(placed(5, "w"), 0, out, 60),
        "hello": lambda: leases.connected(hello("w", lease), out, 0),
        "began": lambda: leases.began("w", wire.Began(lease=lease, started_ms=50), out, 60),
    }
    for step in order:
        steps[step]()
    told = [r.message for r in out.records if isinstance(r.message, Started)]
    assert [(started.job_id, started.started_ms) for started in told] == [(5, 50)]
    leases.cancel(STOP, out)
    assert out.frames["w"][1:] == [wire.Cancel(lease=lease, reason="by ann")]
    leases.expire(out, LATER)
    assert leases.next_ms() is None


def test_a_claim_ends_when_its_worker_comes_back_without_it() -> None:
    leases, lease = Leases("d", CLASSES, 0), Lease(5, 1, 0)
    connect(leases, "w", lease)
    connect(leases, "w", now_ms=100)
    assert assigned(place(leases, 5, "w", 0, now_ms=200), "w") == [lease]


def test_two_attempts_of_a_job_are_stopped_one_by_one() -> None:
    leases, out = Leases("d", CLASSES, 0), StepEffects()
    connect(leases, "w")
    for attempt in (1, 2):
        leases.place(placed(5, "w", attempt=attempt), place_of(attempt), out, 0)
    first, second = assigned(out, "w")
    for lease in (first, second):
        order = CancelJob(job_id=5, attempt=lease.attempt, reason="by ann")
        leases.cancel(order, out)
        assert out.frames["w"][-1] == wire.Cancel(lease=lease, reason="by ann")


def test_what_waits_behind_a_long_job_is_called_back_once() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    made = [assigned(place(leases, job, "w", job), "w")[0] for job in range(4)]
    out = StepEffects()
    leases.began("w", wire.Began(lease=made[0], started_ms=1), out, 50)
    assert leases.next_ms() is not None
    leases.expire(out, 1_000)
    (frame,) = [f for f in out.frames["w"] if isinstance(f, wire.TakeBack)]
    assert frame.leases == tuple(made[1:])
    assert [r.message.job_ids for r in out.records if isinstance(r.message, Overran)] == [(0,)]
    again = StepEffects()
    leases.expire(again, 2_000)
    assert not again.frames["w"]
    leases.handed_back("w", made[2:], again)
    assert len([r for r in again.records if r.topic == Topic.TASK_RUNS]) == 2


def test_a_worker_tells_its_slots_partitions_and_holds() -> None:
    leases = Leases("d", CLASSES, 0)
    out = connect(leases, "w")
    (up,) = [r.message for r in out.records if isinstance(r.message, WorkerUp)]
    assert len(up.partitions) == 2
    assert {CLASSES[p] for p in up.partitions} == {Speed.FAST, Speed.SLOW}


class OneAnswer(RuleBasedStateMachine):
    """Placements, connections, results, and time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases("d", CLASSES, 0)
        self.now_ms = 0
        self.offset = 0
        self.known: dict[str, set[Lease]] = {"a": set(), "b": set()}
        self.online: set[str] = set()
        self.open: dict[int, int] = {}  # Place to job.
        self.answered: list[int] = []

    def absorb(self, out: StepEffects) -> None:
        for worker, frames in out.frames.items():
            for frame in frames:
                if isinstance(frame, wire.Assign):
                    self.known[worker].add(frame.lease)
        answers = sum(r.topic in {Topic.TASK_RUN_RESULTS, Topic.TASK_RUNS} for r in out.records)
        assert answers == len(out.receipts)
        for receipt in out.receipts:
            del self.open[receipt]  # Raises when answered twice.
        self.answered += out.receipts

    @rule(worker=st.sampled_from("ab"))
    def place(self, worker: str) -> None:
        out = StepEffects()
        self.open[place_of(self.offset)] = self.offset
        self.leases.place(placed(self.offset, worker), place_of(self.offset), out, self.now_ms)
        self.offset += 1
        self.absorb(out)

    @rule(worker=st.sampled_from("ab"), remembers=st.booleans())
    def connect(self, worker: str, *, remembers: bool) -> None:
        if not remembers:
            self.known[worker].clear()
        out = StepEffects()
        held = tuple(self.known[worker])
        self.leases.connected(hello(worker, *held, now_ms=self.now_ms), out, self.now_ms)
        self.online.add(worker)
        self.absorb(out)

    @rule(worker=st.sampled_from("ab"))
    def disconnect(self, worker: str) -> None:
        out = StepEffects()
        self.leases.disconnected(worker, "closed", out, self.now_ms)
        self.online.discard(worker)
        self.absorb(out)

    @precondition(lambda self: any(self.known[w] for w in self.online))
    @rule(data=st.data(), forget=st.booleans())
    def report(self, data: st.DataObject, *, forget: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(w for w in self.online if self.known[w])))
        lease = data.draw(st.sampled_from(sorted(self.known[worker], key=lambda le: le.epoch)))
        out = StepEffects()
        self.leases.ended(worker, ended(lease), out, self.now_ms)
        if forget:
            self.known[worker].discard(lease)
        self.absorb(out)

    @rule(step_ms=st.integers(0, 3_000))
    def time_passes(self, step_ms: int) -> None:
        self.now_ms += step_ms
        out = StepEffects()
        self.leases.expire(out, self.now_ms)
        self.absorb(out)

    @invariant()
    def everything_is_answered_or_held(self) -> None:
        assert len(self.answered) == len(set(self.answered))
        assert len(self.answered) + len(self.open) == self.offset

    def teardown(self) -> None:
        for worker in "ab":
            self.disconnect(worker)
        self.time_passes(60_000)
        assert not self.open, "a lease outlived everybody"


TestOneAnswer = OneAnswer.TestCase


def test_a_result_that_counted_before_a_restart_is_acknowledged_in_the_end() -> None:
    leases = Leases("d", CLASSES, 0)
    lease = Lease(5, 1, 10_000)  # Its receipt was committed; only the acknowledgement was lost.
    connect(leases, "w", lease, now_ms=100)
    out = StepEffects()
    leases.ended("w", ended(lease), out, 200)
    assert not out.acks
    assert leases.next_ms() == round(limits.RESTART_GRACE_S * 1000)
    leases.expire(out, LATER)
    assert out.acks["w"] == [lease]
    assert not results(out)
    assert leases.next_ms() is None


def test_a_worker_cannot_say_that_it_began_before_the_job_was_there() -> None:
    leases = Leases("d", CLASSES, 0)
    out = StepEffects()
    leases.connected(hello("w", now_ms=0), out, limits.TIME_MS_MAX)
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    leases.began("w", wire.Began(lease=lease, started_ms=limits.TIME_MS_MAX), out, 1_000)
    leases.ended("w", ended(lease), out, 2_000)
    (result,) = results(out)
    assert 0 <= (result.started_ms or 0) <= 2_000


def test_a_clock_is_judged_by_the_message_that_was_fastest() -> None:
    leases = Leases("d", CLASSES, 0)
    out = StepEffects()
    leases.connected(hello("w", now_ms=100_000), out, 101_900)  # Its hello took 1.8 s.
    (lease,) = assigned(place(leases, 1, "w", 1), "w")
    leases.beat("w", 104_000, 104_100)
    leases.beat("w", 106_000, 106_900)
    leases.began("w", wire.Began(lease=lease, started_ms=107_000), out, 107_105)
    (started,) = [r.message for r in out.records if isinstance(r.message, Started)]
    assert started.started_ms == 107_100
    for number in range(limits.CLOCK_SAMPLES):  # It was set, or drifts.
        leases.beat("w", 200_000 + number, 203_000 + number)
    assert leases.links["w"].skew_ms == 3_000


def test_what_a_sick_worker_hands_back_has_not_begun() -> None:
    leases = Leases("d", CLASSES, 0)
    connect(leases, "w")
    begun, waiting = (assigned(place(leases, job, "w", job), "w")[0] for job in (1, 2))
    leases.began("w", wire.Began(lease=begun, started_ms=1), StepEffects(), 50)
    out = StepEffects()
    leases.sick("w", "no space left", out)
    leases.handed_back("w", [begun, waiting], out)
    (news,) = [r.message for r in out.records if isinstance(r.message, WorkerUp)]
    assert news.sick == "no space left"
    assert not news.takes_new
    assert len([r for r in out.records if r.topic == Topic.TASK_RUNS]) == 2
    (unstarted,) = [r.message for r in out.records if isinstance(r.message, Unstarted)]
    assert (unstarted.job_id, unstarted.worker, unstarted.reason) == (1, "w", "no space left")
    well = StepEffects()
    leases.sick("w", "", well)
    (news,) = [r.message for r in well.records if isinstance(r.message, WorkerUp)]
    assert news.takes_new
