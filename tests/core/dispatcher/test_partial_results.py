"""Decides that a result in parts is whole and its own, however often its parts come again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.dispatcher.partial_results import PartialResults
from control.model import limits
from control.model.errors import ProtocolError
from control.model.numbers import JobId
from control.model.worker.wire import Lease, Part

ONE, TWO = ("client", "one"), ("client", "two")


def part(number: int, offset: int, text: str, size: int = 10) -> Part:
    return Part(lease=Lease(JobId(number), 1, 1), offset=offset, size=size, text=text)


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.integers(1, 4), st.booleans())))
def test_whatever_order_connections_break_in_results_are_whole(
    steps: list[tuple[tuple[str, str], int, bool]],
) -> None:
    partial = PartialResults()
    texts = {ONE: "äbcdefghi", TWO: "0123456789"}  # Of ten bytes each.
    sent = dict.fromkeys(texts, 0)
    for worker, count, breaks in steps:
        data = texts[worker].encode()
        if breaks:  # The next connection begins where the welcome says.
            sent[worker] = dict(partial.received(worker)).get(Lease(JobId(1), 1, 1), 0)
        text = data[sent[worker] : sent[worker] + count + 1].decode(errors="ignore")
        whole = partial.add(worker, part(1, sent[worker], text))
        sent[worker] += len(text.encode())
        assert (whole is not None) == (sent[worker] == len(data))
        if whole is not None:
            assert whole == data
            sent[worker] = 0
            assert partial.received(worker) == ()


def test_a_part_that_does_not_follow_is_refused_and_the_result_begins_again() -> None:
    partial = PartialResults()
    partial.add(ONE, part(1, 0, "abc"))
    for wrong in (part(1, 4, "e"), part(2, 1, "b"), part(1, 3, "x" * 8)):
        with pytest.raises(ProtocolError, match="does not follow"):
            partial.add(ONE, wrong)
    assert partial.received(ONE) == ()
    assert partial.add(ONE, part(1, 0, "0123456789")) == b"0123456789"


def test_who_takes_most_begins_again_what_was_touched_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    each = limits.PART_BYTES_MIN
    monkeypatch.setattr(limits, "PARTS_BYTES_MAX", 3 * each + 20)
    partial = PartialResults()
    partial.add(ONE, part(1, 0, "abcd"))
    partial.add(TWO, part(2, 0, "abcd"))
    partial.add(TWO, part(3, 0, "abcd"))
    partial.add(TWO, part(2, 4, "e"))
    partial.add(TWO, part(4, 0, "a"))
    assert partial.received(ONE) == ((Lease(JobId(1), 1, 1), 4),)
    assert partial.received(TWO) == ((Lease(JobId(2), 1, 1), 5), (Lease(JobId(4), 1, 1), 1))


def test_a_worker_with_parts_of_everything_takes_no_others_room() -> None:
    partial = PartialResults()
    partial.add(ONE, part(1, 0, "abcd"))
    for number in range(2 * limits.PARTS_BYTES_MAX // limits.PART_BYTES_MIN):
        partial.add(TWO, part(number, 0, "a"))
    assert partial.received(ONE) == ((Lease(JobId(1), 1, 1), 4),)
    assert 0 < len(partial.received(TWO)) < limits.PARTS_BYTES_MAX // limits.PART_BYTES_MIN
