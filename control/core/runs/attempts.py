"""Decides which reports are of a job's attempt, and what is stored and published of its end."""

from control.model.bus.child_messages import ChildEnded, ChildMessage
from control.model.bus.messages import Finished
from control.model.errors import NotFound
from control.model.pipelines import JobSpec
from control.model.state_rows import AttemptRow, JobRow, RunRow
from control.model.states import FINAL, Outcome, State


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


def is_answered_for(job: JobRow, message: Finished | ChildEnded) -> bool:
    """Whether the trigger publishes a job's end in place of its attempt's refused one.

    The job was cancelled while it ran, and its worker reports another outcome. The end of one that
    had not begun was published when it was cancelled.
    """
    agrees = message.outcome == Outcome.CANCELLED and message.final
    cancelled = job.state == State.CANCELLED and job.started_ms is not None
    return cancelled and job.attempt == message.attempt and not agrees


def is_published(job: JobRow) -> bool:
    """Whether its last attempt is on the bus: it waits neither for others nor for its retry."""
    return job.ready_ms is not None and not job.delayed


def may_be_reported(job: JobRow, attempt: int) -> bool:
    """Whether what is reported of an attempt can count: it is the last one, published, and open."""
    return job.attempt == attempt and is_published(job) and job.state not in FINAL


def check_subject(message: Finished | ChildMessage, run: RunRow, spec: JobSpec) -> None:
    """Refuse what is about another installation's job that has the ids of this one.

    Raises `NotFound`.
    """
    for field, value, other in (
        ("pipeline", run.pipeline, message.pipeline),
        ("name", spec.name, message.name),
        ("kind", spec.kind, message.kind),
        ("client", run.client, message.client),
    ):
        if other != value:
            problem = f"{field} {other!r}, and job {message.job_id} has {value!r}"
            raise NotFound(f"about another job: {problem}")
