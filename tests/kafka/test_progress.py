"""Decides whether a partition's progress survives gaps, restarts, and what stays open for long."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.bus.kafka.offsets import PartitionProgress
from control.core.offsets import OffsetTracker
from control.model import limits
from control.model.bus.messages import Deadline
from control.model.bus.records import Delivery
from control.model.names import Topic


def delivery(offset: int, number: int | None = None) -> Delivery:
    run_id = offset if number is None else number
    return Delivery(Deadline(run_id=run_id, at_ms=0), Topic.TASK_RUNS, 3, offset)


def numbers(found: list[Delivery]) -> list[int]:
    return [each.message.run_id for each in found if isinstance(each.message, Deadline)]


def test_offsets_that_are_never_delivered_do_not_hold_the_watermark_back() -> None:
    lane = PartitionProgress.restored(-1001, None)
    assert numbers(lane.take_in([delivery(2), delivery(3), delivery(7)])) == [2, 3, 7]
    lane.finish((2, 3, 7))
    assert lane.committed()[0] == 8


@pytest.mark.parametrize(
    ("first", "end", "gone", "position"),
    [
        (0, 20, False, 10),  # As it was left.
        (10, 20, False, 10),  # All that is gone was finished.
        (12, 20, True, 12),
        (15, 20, True, 16),  # 15 was finished.
        (0, 5, True, 0),  # It is another log.
        (3, 9, True, 3),
    ],
)
def test_what_others_deleted_is_missed_if_it_was_open(
    first: int, end: int, gone: bool, position: int
) -> None:
    lane = PartitionProgress.restored(-1, None)
    lane.take_in([delivery(at) for at in range(20)])
    lane.finish((*range(10), 15))
    lane = PartitionProgress.restored(*lane.committed())
    assert lane.begin_within(first, end) is gone
    assert lane.position == position


def test_what_is_left_to_do_is_counted_without_what_is_finished_out_of_order() -> None:
    lane = PartitionProgress.restored(-1, None)
    lane.begin_within(0, 10)
    assert lane.unfinished == 10
    lane.take_in([delivery(at) for at in range(10)])
    lane.finish((0, 1, 5, 9))
    lane.ends_at(12)
    assert lane.unfinished == 8
    assert (
        PartitionProgress.restored(*lane.committed()).unfinished == 0
    )  # Until the log's end is known.


@pytest.mark.parametrize("first", [0, 7])
def test_a_group_that_never_committed_misses_what_was_deleted(first: int) -> None:
    """One that has finished nothing yet has committed nothing either."""
    lane = PartitionProgress.restored(-1, None)
    assert lane.begin_within(first, 9) is (first > 0)
    assert lane.position == first


def test_marks_at_the_end_of_a_log_are_nothing_that_can_be_missed() -> None:
    lane = PartitionProgress.restored(-1, None)
    lane.take_in([delivery(0)])
    lane.finish((0,))
    lane.reached_end(3)  # Two marks.
    lane = PartitionProgress.restored(*lane.committed())
    assert not lane.begin_within(3, 3)


def test_a_log_that_was_cut_is_read_on_from_where_it_begins() -> None:
    lane = PartitionProgress.restored(5, None)
    assert numbers(lane.take_in([delivery(4_000_000_000)])) == [4_000_000_000]
    assert lane.committed()[0] == 4_000_000_000


def test_what_the_client_reads_twice_is_delivered_once() -> None:
    lane = PartitionProgress.restored(-1, None)
    lane.take_in([delivery(0), delivery(1)])
    assert numbers(lane.take_in([delivery(0), delivery(1), delivery(2)])) == [2]


@pytest.mark.parametrize("text", [None, "", "not ours", "ä", "0" * 5_000])
def test_an_offset_that_others_committed_counts_without_its_text(text: str | None) -> None:
    lane = PartitionProgress.restored(9, text)
    assert lane.position == 9
    assert numbers(lane.take_in([delivery(9)])) == [9]


@given(st.lists(st.tuples(st.integers(1, 4), st.sets(st.integers(0, 60))), max_size=12))
def test_a_restart_goes_on_with_exactly_what_is_open(steps: list[tuple[int, set[int]]]) -> None:
    lane, known, done = PartitionProgress.restored(-1, None), list[int](), set[int]()
    end = 0
    for gap, chosen in steps:
        end += gap
        known.append(end)
        lane.take_in([delivery(end)])
        finished = {offset for offset in known if offset in chosen}
        lane.finish(finished)
        done |= finished
        offset, text = lane.committed()
        again = PartitionProgress.restored(offset, text)
        log = [delivery(each) for each in known if each >= again.position]
        assert numbers(again.take_in(log)) == [each for each in known if each not in done]


class Log:
    """A partition's log, with marks of transactions in it, and one lane that reads it."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int]] = []  # Offset and number.
        self.end = 0
        self.committed: tuple[int, str] = (-1, "")
        self.lane = PartitionProgress.restored(*self.committed)
        self.given: dict[int, int] = {}  # Number to the offset that the reader knows it by.

    def publish(self, count: int, first: int) -> None:
        for number in range(first, first + count):
            self.records.append((self.end, number))
            self.end += 1
        self.end += 1  # The mark of the transaction.

    def read(self) -> list[int]:
        position = self.lane.position
        fresh = self.lane.take_in([delivery(o, n) for o, n in self.records if o >= position])
        for number, each in zip(numbers(fresh), fresh, strict=True):
            assert number not in self.given
            self.given[number] = each.offset
        return numbers(fresh)

    def forward(self, finished: list[int], *, aborts: int = 0) -> None:
        self.lane.finish(self.given.pop(number) for number in finished)
        while True:
            again = self.lane.too_long()
            moved = {}
            for offset, each in again:
                moved[offset] = self.end
                if aborts == 0:
                    self.records.append((self.end, numbers([each])[0]))
                self.end += 1
            self.end += 1
            self.lane.expect(moved.values())
            committed = self.lane.committed(moved)
            if aborts == 0:
                self.read()  # The reader may be faster than the one who commits.
                self.committed = committed
                self.lane.carried(moved)
                return
            aborts -= 1

    def crash(self) -> None:
        self.lane, self.given = PartitionProgress.restored(*self.committed), {}


@pytest.mark.parametrize("seed", range(2))
def test_jobs_that_stay_open_for_very_long_are_carried_over(seed: int) -> None:
    """However many others end around them, in whatever order, the text stays short enough."""
    chance, log = random.Random(seed), Log()
    open_numbers: set[int] = set()
    first = 0
    for turn in range(70):
        log.publish(1_000, first)
        open_numbers |= set(range(first, first + 1_000))
        first += 1_000
        log.read()
        waiting = sorted(log.given)
        # Some wait for a label that nobody has; the others end in any order.
        ends = [number for number in waiting if number % 97 and chance.random() < 0.6]
        chance.shuffle(ends)
        log.forward(ends, aborts=int(chance.random() < 0.2))
        open_numbers -= set(ends)
        assert len(log.committed[1]) <= limits.PROGRESS_CHARS_MAX
        if turn == 45:  # Long enough for records to be carried over several times.
            log.crash()
            log.read()
            assert sorted(log.given) == sorted(open_numbers)
    log.crash()
    log.read()
    assert sorted(log.given) == sorted(open_numbers)


def test_skipping_keeps_what_is_open_below() -> None:
    tracker = OffsetTracker(10)
    tracker.finish((12,))
    tracker.skip(14, 40)
    assert tracker.watermark == 10
    tracker.finish((10, 11, 13))
    assert tracker.watermark == 40
