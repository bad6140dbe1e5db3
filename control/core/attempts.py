"""Decides what is stored, and what is published, of attempts that are over."""

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
    """Whether the trigger publishes a job's end in place of its attempt's refused one.

    The job was cancelled while it ran, and its worker reports another outcome. The end of one that
    had not begun was published when it was cancelled.
    """
    agrees = message.outcome == Outcome.CANCELLED and message.final
    cancelled = job.state == State.CANCELLED and job.started_ms is not None
    return cancelled and job.attempt == message.attempt and not agrees
