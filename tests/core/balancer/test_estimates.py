"""Decides what is expected of a key's next job: never absurd, whatever the durations were."""

import itertools
import math
from collections import defaultdict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.core.balancer.estimates import UNKNOWN_S, Estimates

KEY = ("pipeline", "job")
LEAST_S, MOST_S = 1e-4, 1e7
BEYOND = 2.0  # So many times the longest of a key, or the prior's middle, may be expected of it.
BEYOND_UNKNOWN = math.exp(2.0)  # Of a key of which nothing is known, and of its prior's middle.
ROUNDING = 1.0 + 1e-6


def told(durations: list[float]) -> Estimates:
    estimates = Estimates()
    for seconds in durations:
        estimates.learn(KEY, seconds)
    return estimates


def within(seconds: float) -> float:
    return LEAST_S if math.isnan(seconds) else min(max(seconds, LEAST_S), MOST_S)


def test_one_absurd_duration_breaks_nothing() -> None:
    estimates = told([1e-4, 1e300])
    assert estimates.expected(KEY) <= BEYOND * MOST_S
    again = Estimates()
    again.recall(KEY, [1e-4, 1e300])
    assert again.expected(KEY) == estimates.expected(KEY)


@pytest.mark.parametrize("short_first", [True, False])
def test_of_two_kinds_of_jobs_by_one_name_about_the_mean_is_expected(short_first: bool) -> None:
    pair = [0.01, 600.0] if short_first else [600.0, 0.01]
    estimates = told(pair * 32)
    assert estimates.expected(KEY) == pytest.approx(300.0, rel=0.1)


def test_one_quick_failure_among_long_jobs_makes_them_no_longer() -> None:
    for n in range(1, 64):
        estimates = told([0.001, *[600.0] * n])
        assert estimates.expected(KEY) <= BEYOND * 600.0


def test_what_an_ordinary_key_is_expected_to_take_is_what_the_formula_says() -> None:
    # Quantiles of a log-normal of a standard deviation of 1.4, in an order that mixes them.
    places = [(k * 37 % 64 + 0.5) / 64 for k in range(64)]
    logs = [1.4 * math.sqrt(2) * _inverse_erf(2 * p - 1) for p in places]
    for n in range(1, 65):
        first = logs[:n]
        mean = sum(first) / n
        variance = (0.8 + sum((x - mean) ** 2 for x in first)) / (2 + n)
        # Nothing is known of other keys: the key's own mean stands for the prior's.
        durations = [math.exp(x) for x in first]
        expected = (3 * math.exp(mean + variance / 2) + sum(durations)) / (3 + n)
        assert told(durations).expected(KEY) == pytest.approx(expected)


def _inverse_erf(y: float) -> float:
    low, high = -6.0, 6.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < y else (low, middle)
    return low


def test_what_was_long_ago_leaves_nothing_behind() -> None:
    durations = [1e-4 * (1 + k / 7) for k in range(64)]
    estimates = told([*[1e7 / 3 + k for k in range(200)], *durations])
    assert estimates.expected(KEY) == pytest.approx(told(durations).expected(KEY), rel=1e-9)


def test_a_duration_is_judged_within_the_same_limits() -> None:
    estimates = told([1.0, 1.0, 1.0])
    for seconds in (math.inf, 1e300, 1e7):
        assert estimates.deviation(KEY, seconds) == estimates.deviation(KEY, MOST_S)
    for seconds in (math.nan, -math.inf, -1.0, 0.0):
        assert estimates.deviation(KEY, seconds) == estimates.deviation(KEY, LEAST_S)


@given(
    ends=st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.floats() | st.floats(1e-5, 1e8) | st.sampled_from([1e-4, 600.0, 1e7]),
        ),
        max_size=200,
    ),
    last=st.floats(),
)
@example(ends=[("a", 1e-4), ("a", 1e300)], last=math.nan)
@example(ends=[("a", 1e7)] * 64 + [("a", 1e-4)] * 64, last=math.inf)
def test_anything_in_any_order_is_within_what_was_seen(
    ends: list[tuple[str, float]], last: float
) -> None:
    estimates = Estimates()
    seen: dict[str, list[float]] = defaultdict(list)
    weights = logs = 0.0
    for name, seconds in ends:
        estimates.learn((name, name), seconds)
        seen[name].append(within(seconds))
        if (n := len(seen[name])) <= 20:
            weights += 1 / n
            logs += math.log(seen[name][-1]) / n
    middle = [math.exp(logs / weights)] if len(seen) >= 3 else []
    unknown = estimates.expected(("new", "new"))
    about = middle[0] if middle else UNKNOWN_S
    assert about / ROUNDING <= unknown <= about * BEYOND_UNKNOWN * ROUNDING
    for name, durations in seen.items():
        key = (name, name)
        known = [*durations[-64:], *middle]
        expected, index = estimates.expected(key), estimates.index(key)
        assert min(known) / ROUNDING <= expected <= max(known) * BEYOND * ROUNDING
        assert index is not None
        assert 0 < index < math.inf
        judged = estimates.deviation(key, last)
        assert judged is None or all(map(math.isfinite, judged))
    samples = list(itertools.chain(*estimates.samples()))
    assert all(0 < value < math.inf for value in samples)
