"""Decides, case by case, what becomes of leases whose worker or partition is elsewhere."""

import msgspec
import pytest

from control.core.dispatcher.effects import StepEffects
from control.core.dispatcher.leases import Leases
from control.model import limits
from control.model.bus.messages import DispatcherUp, Placed, Started, WorkerDown, WorkerUp
from control.model.names import Topic
from control.model.states import Outcome
from control.model.worker import wire
from control.model.worker.wire import Lease
from tests.core.dispatcher.leasing import (
    CLASSES,
    LATER,
    assigned,
    connect,
    ended,
    place,
    place_of,
    placed,
    results,
)

CLAIM_MS = round(limits.CLAIM_GRACE_S * 1000)


def up(worker: str, dispatcher: str = "e", connected_ms: int = 0) -> WorkerUp:
    return WorkerUp(
        worker=worker,
        dispatcher=dispatcher,
        host="h",
        slots=2,
        labels=(),
        kinds=(),
        partitions=(),
        draining=False,
        connected_ms=connected_ms,
    )


def other(*workers: WorkerUp, partitions: tuple[int, ...] = (2, 3)) -> DispatcherUp:
    return DispatcherUp(dispatcher="e", partitions=partitions, workers=workers, adrift=())


def some(*partitions: int) -> Leases:
    return Leases("d", CLASSES, 0, frozenset(partitions))


def sent_on(out: StepEffects) -> list[Placed]:
    return [r.message for r in out.records if isinstance(r.message, Placed)]


def test_a_job_of_a_worker_elsewhere_is_sent_on_with_its_epoch() -> None:
    leases, out = some(0, 1), StepEffects()
    leases.heard(other(up("w")), out, 0)
    out = place(leases, 5, "w", 7, now_ms=LATER)
    (message,) = sent_on(out)
    assert (message.epoch, message.partition in {2, 3}) == (place_of(7), True)
    assert [(r.topic, r.partition) for r in out.records] == [
        (Topic.TASK_RUNS_LOAD_BALANCED, message.partition)
    ]
    assert out.receipts == [place_of(7)]


def test_a_record_that_lies_about_its_partition_is_answered_where_it_is() -> None:
    leases, out = some(0, 1), StepEffects()
    connect(leases, "w")
    leases.place(placed(5, "w", partition=9_999), place_of(3, 1), out, 0)
    (lease,) = assigned(out, "w")
    leases.ended("w", ended(lease), out, 1)
    assert [result.partition for result in results(out)] == [1]
    assert out.receipts == [place_of(3, 1)]


def test_a_lease_follows_its_worker() -> None:
    leases, out = some(0, 1), StepEffects()
    connect(leases, "w")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    leases.disconnected("w", "closed", out, 100)
    leases.heard(other(), out, 150)
    assert not sent_on(out)
    leases.heard(up("w", connected_ms=150), out, 200)
    assert [message.epoch for message in sent_on(out)] == [lease.epoch]
    assert leases.next_ms() is None


def test_a_worker_is_where_it_connected_last() -> None:
    leases, out = some(0, 1), StepEffects()
    connect(leases, "w", now_ms=100)
    place(leases, 5, "w", 0, now_ms=100)
    leases.heard(other(up("w", connected_ms=99)), out, 200)
    assert "w" in leases.links
    leases.heard(up("w", connected_ms=300), out, 300)
    assert "w" not in leases.links
    assert len(sent_on(out)) == 1


def test_the_newest_word_may_be_taken_back() -> None:
    leases, out = some(0), StepEffects()
    leases.heard(other(up("w", connected_ms=100)), out, 100)
    leases.heard(up("w", "f", connected_ms=200), out, 200)
    leases.heard(WorkerDown(worker="w", dispatcher="f", reason="silence"), out, 300)
    assert len(sent_on(place(leases, 5, "w", 0, now_ms=LATER))) == 1


def test_nothing_is_sent_to_partitions_that_are_not_there_or_ours() -> None:
    leases, out = some(0, 1), StepEffects()
    leases.heard(other(up("w"), partitions=(-1, 3, 9_999)), out, 0)
    leases.repartition(frozenset({0, 1, 3}), out, LATER)
    out = place(leases, 5, "w", 0, now_ms=2 * LATER)
    assert [record.topic for record in out.records] == [Topic.TASK_RUNS]


def test_a_partition_goes_without_a_receipt_and_its_leases_come_back() -> None:
    leases, out = some(0, 1), StepEffects()
    connect(leases, "w")
    (lease,) = assigned(place(leases, 5, "w", 0), "w")
    leases.began("w", wire.Began(lease=lease, started_ms=40), out, 50)
    out = StepEffects()
    leases.repartition(frozenset({1}), out, 100)
    assert not out.receipts
    (told,) = [r.message for r in out.records if isinstance(r.message, DispatcherUp)]
    assert (told.partitions, told.workers[0].partitions) == ((1,), (1, 1))
    leases.ended("w", ended(lease), out, 200)
    assert not out.acks
    back = placed(5, "w", partition=1)
    out = StepEffects()
    leases.place(msgspec.structs.replace(back, epoch=lease.epoch), place_of(8, 1), out, 300)
    assert [result.outcome for result in results(out)] == [Outcome.DONE]
    assert (out.receipts, out.acks["w"]) == ([place_of(8, 1)], [lease])


def test_without_partitions_nothing_can_be_placed() -> None:
    leases, out = some(), connect(some(), "w")
    (told,) = [r.message for r in out.records if isinstance(r.message, WorkerUp)]
    assert told.partitions == ()
    connect(leases, "w")
    leases.repartition(frozenset({2}), out, 10)
    assert leases.links["w"].info.partitions == (2, 2)


def test_a_claim_is_matched_late_and_started_is_told_again() -> None:
    leases, lease = some(1), Lease(5, 1, place_of(0))
    connect(leases, "w", lease, now_ms=LATER)
    out = StepEffects()
    leases.began("w", wire.Began(lease=lease, started_ms=LATER), out, LATER)
    leases.repartition(frozenset({0, 1}), out, LATER + CLAIM_MS - 1)
    leases.place(placed(5, "w"), place_of(0), out, LATER + CLAIM_MS - 1)
    assert [r.message.job_id for r in out.records if isinstance(r.message, Started)] == [5]
    assert not assigned(out, "w")


@pytest.mark.parametrize("has_ended", [True, False])
def test_a_claim_ends(*, has_ended: bool) -> None:
    leases, lease, out = some(1), Lease(5, 1, place_of(0)), StepEffects()
    connect(leases, "w", lease, now_ms=LATER)
    if has_ended:
        leases.ended("w", ended(lease), out, LATER)
    assert leases.next_ms() == LATER + CLAIM_MS
    leases.expire(out, LATER + CLAIM_MS)
    if has_ended:
        assert (out.acks["w"], leases.refused) == ([lease], 1)
    else:
        assert [type(frame) for frame in out.frames["w"]] == [wire.Cancel]
    assert leases.next_ms() is None


def test_what_was_sent_on_waits_for_its_worker() -> None:
    leases, out = some(0), StepEffects()
    moved = msgspec.structs.replace(placed(5, "w"), epoch=77)
    leases.place(moved, place_of(9), out, LATER)
    assert not out.receipts
    leases.place(moved, place_of(9), out, LATER)  # Said again.
    leases.expire(out, 2 * LATER)
    assert [result.outcome for result in results(out)] == [Outcome.LOST]
    assert out.receipts == [place_of(9)]


def test_workers_of_a_process_that_was_frozen_keep_their_jobs_as_long_as_silent_ones() -> None:
    """They come back once it has closed their sockets, which may take longer than its start."""
    leases = Leases("d", CLASSES, 0, frozenset(), returning=["w", "gone"])
    out = StepEffects()
    leases.repartition(frozenset({0, 1}), out, 100)
    for number, worker in enumerate(("w", "gone", "other"), 1):
        leases.place(placed(number, worker), place_of(number), out, 100)
    leases.expire(out := StepEffects(), 100 + LATER)
    assert [each.job_id for each in results(out)] == [3]  # It was not here before.

    connect(leases, "w", Lease(1, 1, place_of(1)), now_ms=9_000)
    leases.expire(out := StepEffects(), 10_001)
    assert [each.job_id for each in results(out)] == [2]
    assert Lease(1, 1, place_of(1)) in leases.links["w"].holds


def test_a_worker_that_a_dispatcher_lists_as_anothers_is_nowhere() -> None:
    """A foreign record: nothing that it names is looked up."""
    leases, out = some(0, 1), StepEffects()
    leases.heard(other(up("w", dispatcher="nobody")), out, 0)
    assert not sent_on(place(leases, 5, "w", 7, now_ms=LATER))
