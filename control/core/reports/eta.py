"""Decides how long a run should still take, from what its jobs are expected to take.

Stages follow each other and the jobs of a stage run side by side: the longest of each counts. It
is a lower estimate, because jobs may have to wait for slots.
"""

from collections.abc import Iterable

import msgspec

from control.model.states import FINAL, State


class Unended(msgspec.Struct, frozen=True, kw_only=True):
    """A job of a run. `expected_s`: of one attempt; None: nothing is known of it."""

    stage: str
    state: State
    expected_s: float | None
    started_ms: int | None


def remaining_s(jobs: Iterable[Unended], now_ms: int) -> float | None:
    """Seconds until all have ended, or None when nothing is known of one that has not."""
    longest: dict[str, float] = {}
    for job in jobs:
        if job.state in FINAL:
            continue
        if job.expected_s is None:
            return None
        left = job.expected_s
        if job.state == State.IN_PROGRESS and job.started_ms is not None:
            left = max(left - (now_ms - job.started_ms) / 1000, 0.0)
        longest[job.stage] = max(longest.get(job.stage, 0.0), left)
    return sum(longest.values())
