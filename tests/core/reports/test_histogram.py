"""Histograms: durations are divided at few, round, ascending lengths that all of them fit in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.reports.histogram import BUCKETS_MAX, bounds


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 0.0, (0.001,)),
        (2.0, 2.0, (3,)),
        (1.0, 20.0, (1.5, 2, 3, 5, 7, 10, 15, 20, 30)),
        (38.0, 1_200.0, (60, 120, 300, 600, 1_800)),
        (40.0, 45.0, (41, 42, 43, 44, 45, 46)),
        (3_600.0, 3_700.0, (3_620, 3_640, 3_660, 3_680, 3_700, 3_720)),
        (0.001, 90.0, (0.002, 0.01, 0.05, 0.2, 1, 5, 30, 120)),
    ],
)
def test_durations_are_divided_at_round_lengths(
    low: float, high: float, wanted: tuple[float, ...]
) -> None:
    assert bounds(low, high) == wanted


SECONDS = st.floats(0, 1e10) | st.floats(0, 1e-2) | st.floats(0, 100)


@given(one=SECONDS, other=SECONDS)
def test_all_durations_fit_and_none_of_the_lengths_is_in_vain(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    found = bounds(low, high)
    assert 1 <= len(found) <= BUCKETS_MAX
    assert list(found) == sorted(set(found))
    assert found[-1] > high
    assert all(each <= high for each in found[:-1])
    assert found[0] > low or len(found) == 1


@given(low=st.floats(0.1, 1e4), factor=st.floats(1.2, 1e6))
def test_there_are_enough_of_them_to_see_something(low: float, factor: float) -> None:
    assert len(bounds(low, low * factor)) >= 4
