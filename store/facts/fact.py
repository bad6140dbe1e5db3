"""Owns the shape of a fact, and what tells facts apart."""

import msgspec

from control.model.numbers import JobId, RunId
from control.model.states import Outcome, Speed

# A run, a job, an attempt, the pipeline, and whether the job ended without an attempt.
Counted = tuple[int, int, int, str, bool]


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One row: how an attempt ended, or a job that ended without one. Null seconds: never began.

    `worker` is null of jobs that the control plane executed, too.
    """

    run_id: RunId
    job_id: JobId
    attempt: int
    pipeline: str
    job: str
    stage: str | None = None
    kind: str
    client: str
    worker: str | None = None
    partition: int | None = None
    speed: Speed | None = None
    outcome: Outcome
    final: bool
    expected: float | None = None
    ready_ms: int
    started_ms: int | None = None
    finished_ms: int
    wait_seconds: float | None = None
    duration_seconds: float | None = None
    exit_code: int | None = None
    error: str | None = None

    @property
    def is_skip(self) -> bool:
        """Whether the job ended without an attempt."""
        return self.worker is None and self.started_ms is None
