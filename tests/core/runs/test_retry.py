"""Decides how long a failed job waits: at least, at most, and not in step with others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.runs.retry import retry_delay_ms
from control.model.pipelines import JobSpec


def spec(delay: float, longest: float) -> JobSpec:
    return JobSpec(
        name="j",
        stage="s",
        kind="Sleep",
        version="1.0.0",
        retry_delay=delay,
        retry_delay_max=longest,
    )


@given(st.floats(0, 1e6), st.floats(1, 100), st.integers(1, 2_000), st.floats(-0.1, 0.1))
def test_no_delay_is_longer_than_the_cap_or_the_first_shorter_than_it_says(
    delay: float, factor: float, failures: int, jitter: float
) -> None:
    longest = delay * factor
    found = retry_delay_ms(spec(delay, longest), failures, jitter)
    assert found <= round(longest * 1000)
    assert found >= round(delay * 900)
    if failures == 1:
        assert found >= round(delay * 1000)


@pytest.mark.parametrize("jitter", [-0.1, -0.05, 0.05, 0.1])
def test_at_the_cap_jobs_still_do_not_return_in_step(jitter: float) -> None:
    assert retry_delay_ms(spec(1, 2), 9, jitter) == pytest.approx(2000 * (1 - abs(jitter)))
