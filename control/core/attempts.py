"""Decides what is stored, and what is said, of attempts that are over."""

from control.model.messages import Finished
from control.model.rows import AttemptRow, JobRow
from control.model.states import Outcome, State


def archived(job: JobRow, outcome: Outcome, now_ms: int) -> AttemptRow:
    """What is stored of a job's last attempt, before there is another one."""
    return AttemptRow(
        job_id=job.id,
        attempt=job.attempt,
        outcome=outcome,
        worker=job.worker,
        partition=job.partition,
        error=job.error,
        exit_code=job.exit_code,
        log_bytes=job.log_bytes,
        started_ms=job.started_ms,
        finished_ms=job.finished_ms or now_ms,
    )


def is_answered_for(job: JobRow, message: Finished) -> bool:
    """Whether the state says how a job ended, instead of its attempt's refused end.

    It was cancelled while it ran, and its worker says something else. Of one that had not begun,
    the end was said when it was cancelled.
    """
    said = message.outcome == Outcome.CANCELLED and message.final
    cancelled = job.state == State.CANCELLED and job.started_ms is not None
    return cancelled and job.attempt == message.attempt and not said
