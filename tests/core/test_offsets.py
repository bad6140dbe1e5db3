"""Decides that a group's progress is exact, whatever the order in which records finish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.offsets import OffsetTracker
from control.model.errors import Rejected

_BATCHES = st.lists(st.lists(st.integers(0, 400), max_size=40), max_size=20)


@given(start=st.integers(0, 1000), batches=_BATCHES)
def test_it_agrees_with_a_set(start: int, batches: list[list[int]]) -> None:
    tracker, finished = OffsetTracker(start), set(range(start))
    for batch in batches:
        tracker.finish(batch)
        finished.update(batch)
        watermark = next(at for at in range(2000) if at not in finished)
        assert tracker.watermark == watermark
        assert all(tracker.is_finished(at) == (at in finished) for at in range(1500))


@given(start=st.integers(0, 10**12), batches=_BATCHES)
def test_progress_survives_being_written(start: int, batches: list[list[int]]) -> None:
    tracker = OffsetTracker(start)
    for batch in batches:
        tracker.finish(start + offset for offset in batch)
    again = OffsetTracker.decode(tracker.encode())
    assert again.watermark == tracker.watermark
    assert all(again.is_finished(at) == tracker.is_finished(at) for at in range(start, start + 500))


def test_many_holes_stay_small() -> None:
    tracker = OffsetTracker()
    tracker.finish(range(1, 100_000, 2))
    assert len(tracker.encode()) < 1_000
    tracker.finish(range(0, 100_000, 2))
    assert tracker.watermark == 100_000
    assert len(tracker.encode()) < 16


@given(st.binary(max_size=64))
def test_damaged_progress_is_refused(progress: bytes) -> None:
    try:
        OffsetTracker.decode(progress)
    except Rejected:
        return


def test_text_that_is_no_progress_is_refused() -> None:
    with pytest.raises(Rejected, match="not a consumer group's progress"):
        OffsetTracker.decode(b"hello")


@given(st.sets(st.integers(0, 300)))
def test_what_is_finished_above_the_watermark_is_counted(finished: set[int]) -> None:
    tracker = OffsetTracker()
    tracker.finish(finished)
    assert tracker.finished_above == sum(offset >= tracker.watermark for offset in finished)
