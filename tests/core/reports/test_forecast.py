"""Forecasts: what each stretch of time needs, held to a naive computation run by run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.reports.forecast import Shape, edges, forecast, shape
from control.model.times import to_rfc3339

MINUTE_MS = 60_000
NOW_MS = 1_795_000_000_000 - 1_795_000_000_000 % MINUTE_MS + 20_000


def test_a_pipeline_takes_its_longest_jobs_and_needs_all_of_them() -> None:
    jobs = [("a", 10.0), ("a", 4.0), ("b", 2.0)]
    assert shape(jobs) == Shape(seconds=12.0, slot_seconds=16.0)
    assert shape([*jobs, ("c", None)]) is None
    assert shape([]) == Shape(seconds=0, slot_seconds=0)


def test_stretches_begin_now_and_then_at_round_times() -> None:
    found = edges(NOW_MS, NOW_MS + 3 * MINUTE_MS, MINUTE_MS)
    begin = NOW_MS - 20_000
    assert found == [
        NOW_MS,
        *(begin + n * MINUTE_MS for n in (1, 2, 3)),
        NOW_MS + 3 * MINUTE_MS,
    ]
    assert edges(NOW_MS, NOW_MS + 5, MINUTE_MS) == [NOW_MS, NOW_MS + 5]
    round_ms = begin + MINUTE_MS
    assert edges(round_ms, round_ms + MINUTE_MS, MINUTE_MS) == [round_ms, round_ms + MINUTE_MS]


def test_a_run_keeps_slots_busy_from_its_due_time_on() -> None:
    at_ms = [NOW_MS + n * MINUTE_MS for n in range(5)]
    needed = Shape(seconds=90.0, slot_seconds=180.0)
    items, unknown = forecast(
        [
            (needed, [NOW_MS + MINUTE_MS]),
            (Shape(seconds=0.0, slot_seconds=0.0), [NOW_MS]),
            (None, [NOW_MS - MINUTE_MS, NOW_MS + 3 * MINUTE_MS, NOW_MS + 4 * MINUTE_MS]),
        ],
        at_ms,
    )
    assert [item.runs for item in items] == [2, 1, 0, 1]
    assert [item.slots for item in items] == [0.0, 2.0, 1.0, 0.0]
    assert [item.at for item in items] == [to_rfc3339(edge) for edge in at_ms[:-1]]
    assert unknown == 2


def test_what_is_overdue_begins_now() -> None:
    at_ms = [NOW_MS, NOW_MS + MINUTE_MS]
    items, _ = forecast([(Shape(seconds=30.0, slot_seconds=30.0), [0, NOW_MS - 1])], at_ms)
    assert (items[0].runs, items[0].slots) == (2, 1.0)


@given(
    starts=st.lists(st.integers(-10, 500), max_size=30),
    length_s=st.floats(0.1, 400),
    work=st.floats(0, 4_000),
    until=st.integers(1, 400),
    bucket=st.integers(1, 100),
)
def test_every_stretch_equals_the_sum_over_all_runs(
    starts: list[int], length_s: float, work: float, until: int, bucket: int
) -> None:
    due_ms = sorted(NOW_MS + start * 1_000 for start in starts)
    at_ms = edges(NOW_MS, NOW_MS + until * 1_000, bucket * 1_000)
    needed = Shape(seconds=length_s, slot_seconds=work)
    items, unknown = forecast([(needed, due_ms)], at_ms)
    assert unknown == 0
    for item, begin, end in zip(items, at_ms, at_ms[1:], strict=False):
        begun = [max(due, NOW_MS) for due in due_ms if due < at_ms[-1]]
        assert item.runs == sum(begin <= due < end for due in begun)
        busy_ms = sum(max(min(due + length_s * 1_000, end) - max(due, begin), 0) for due in begun)
        # Instants are whole milliseconds: the shortest run is off by 0.5 % of its length.
        assert item.slots == pytest.approx(
            busy_ms * work / length_s / (end - begin), rel=6e-3, abs=1e-2
        )
