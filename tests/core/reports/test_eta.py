"""Decides how long a run should still take."""

from control.core.reports.eta import Unended, remaining_s
from control.model.states import State


def job(
    stage: str, state: State, expected_s: float | None = 10.0, started_ms: int | None = None
) -> Unended:
    return Unended(stage=stage, state=state, expected_s=expected_s, started_ms=started_ms)


def test_the_longest_of_each_stage_counts() -> None:
    jobs = [
        job("a", State.DONE, 100.0),
        job("b", State.IN_PROGRESS, 10.0, started_ms=6_000),
        job("b", State.READY, 7.0),
        job("c", State.READY, 5.0),
    ]
    assert remaining_s(jobs, now_ms=10_000) == 7.0 + 5.0


def test_overdue_jobs_count_nothing_and_unknown_ones_everything() -> None:
    overdue = job("a", State.IN_PROGRESS, 1.0, started_ms=0)
    assert remaining_s([overdue], now_ms=60_000) == 0.0
    assert remaining_s([overdue, job("b", State.READY, None)], now_ms=60_000) is None
    assert remaining_s([job("a", State.ERROR, None)], now_ms=0) == 0.0
