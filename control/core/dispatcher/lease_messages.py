"""Decides what is said about a lease: to the worker, to the balancer, and at its end."""

from collections.abc import Sequence
from typing import Final

import msgspec

from control.model import limits
from control.model.bus.messages import (
    Finished,
    Hold,
    JobReady,
    LogChunk,
    Placed,
    Progressed,
    Started,
    Unstarted,
    WorkerDown,
    WorkerUp,
)
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.states import Outcome
from control.model.this import Subject
from control.model.worker import wire

_DRAINED: Final = "it had drained"
# Results of these kinds go to a topic of their own as well.
_EXTRA_TOPICS: Final = {
    "Query": Topic.QUERY_TASK_RUN_RESULTS,
    "Notification": Topic.NOTIFICATION_TASK_RUN_RESULTS,
}


def assign_frame(
    job: JobReady, lease: wire.Lease, *, names_client: bool, has_subject: bool
) -> wire.Assign:
    """What the worker needs to execute an attempt.

    `names_client`, `has_subject`: whether it knows these fields.
    """
    return wire.Assign(
        lease=lease,
        run_id=job.run_id,
        name=job.name,
        kind=job.kind,
        version=job.version,
        timeout=job.timeout,
        work=job.work,
        input=job.input,
        client=job.client if names_client else None,
        subject=_subject(job) if has_subject else None,
    )


def _subject(job: JobReady) -> Subject:
    return msgspec.structs.replace(
        job.subject, pipeline=job.pipeline, stage=job.stage, created_ms=job.created_ms
    )


def hold_of(placed: Placed, started_ms: int | None) -> Hold:
    """What the balancer needs to count a lease."""
    job = placed.job
    return Hold(
        job_id=job.job_id,
        attempt=job.attempt,
        client=job.client,
        pipeline=job.pipeline,
        name=job.name,
        speed=placed.speed,
        expected=placed.expected,
        started_ms=started_ms,
    )


def started_message(placed: Placed, worker: str, started_ms: int) -> Started:
    """That the attempt began, for the state's owner."""
    job = placed.job
    return Started(
        run_id=job.run_id,
        job_id=job.job_id,
        attempt=job.attempt,
        worker=worker,
        partition=placed.partition,
        started_ms=started_ms,
    )


def unstarted_message(placed: Placed, worker: str, reason: str) -> Unstarted:
    """That the attempt did not begin after all, for the state's owner."""
    job = placed.job
    return Unstarted(
        run_id=job.run_id, job_id=job.job_id, attempt=job.attempt, worker=worker, reason=reason
    )


def progressed_message(placed: Placed, progress: float) -> Progressed:
    """How far the attempt is, for the state's owner."""
    job = placed.job
    return Progressed(run_id=job.run_id, job_id=job.job_id, attempt=job.attempt, progress=progress)


def log_record(placed: Placed, frame: wire.Log) -> Record:
    """Text of the attempt's log."""
    chunk = LogChunk(
        job_id=frame.lease.job_id,
        attempt=frame.lease.attempt,
        offset=frame.offset,
        text=frame.text,
    )
    return Record(Topic.TASK_RUN_LOGS, chunk, placed.job.run_id)


def lost_frame(placed: Placed, lease: wire.Lease, now_ms: int) -> wire.Ended:
    """What its worker would have said, had it not been lost."""
    return wire.Ended(
        lease=lease,
        outcome=Outcome.LOST,
        started_ms=None,  # As the lease says.
        finished_ms=now_ms,
        duration=0.0,
        error=f"its worker {placed.worker} was lost",
    )


def result_records(
    placed: Placed,
    frame: wire.Ended,
    *,
    worker: str,
    started_ms: int | None,
    now_ms: int,
    stopped: bool,
) -> list[Record]:
    """The attempt's one result, for every topic it belongs on.

    `stopped`: its job was cancelled, so however the attempt ended, none comes after it.
    """
    job = placed.job
    result = Finished(
        **job.identity(),
        worker=worker,
        partition=placed.partition,
        speed=placed.speed,
        outcome=frame.outcome,
        final=stopped or frame.final is True or _is_final(job, frame.outcome),
        expected=placed.expected,
        ready_ms=job.ready_ms,
        started_ms=started_ms,
        finished_ms=max(now_ms, started_ms or job.ready_ms),
        wait_seconds=max((started_ms or now_ms) - job.ready_ms, 0) / 1000,
        duration_seconds=frame.duration,
        exit_code=frame.exit_code,
        error=frame.error,
        log_bytes=frame.log_bytes,
        input=job.input,
        output=frame.output,
    )
    records = [Record(Topic.TASK_RUN_RESULTS, result, job.run_id)]
    extra = _EXTRA_TOPICS.get(job.kind)
    if extra is not None:
        if frame.details is not msgspec.UNSET:
            result = msgspec.structs.replace(result, details=frame.details)
        records.append(Record(extra, result, job.run_id))
    return records


def _is_final(job: JobReady, outcome: Outcome) -> bool:
    if outcome == Outcome.LOST:
        return job.lost + 1 >= limits.ATTEMPT_LOST_MAX
    return outcome in {Outcome.DONE, Outcome.CANCELLED} or job.retries_left == 0


def instant_ms(stated_ms: int, earliest_ms: int, latest_ms: int) -> int:
    """What a worker says about time, within what is possible."""
    return max(min(stated_ms, latest_ms), earliest_ms)


def clock_skew_ms(differences_ms: Sequence[int]) -> int:
    """What to add to a worker's clock.

    `differences_ms`: how much later, by our clock, each of its latest messages arrived than it was
    sent by its own. The way of a message only adds to that, so the smallest is the nearest. Small
    ones are mostly the network's delay.
    """
    least_ms = min(differences_ms)
    return least_ms if abs(least_ms) > limits.CLOCK_SKEW_MIN_MS else 0


def worker_down(info: WorkerUp, reason: str, *, idle: bool) -> WorkerDown:
    """What is announced of a worker that is gone. `idle`: it had no lease.

    One that leaves with a lease has not drained, and is lost.
    """
    drained = info.draining and idle
    return WorkerDown(
        worker=info.worker,
        dispatcher=info.dispatcher,
        reason=_DRAINED if drained else reason,
        drained=drained,
    )


def worker_up(
    hello: wire.Hello,
    dispatcher: str,
    client: str,
    partitions: tuple[int, ...],
    connected_ms: int,
) -> WorkerUp:
    """What is announced of a worker that has connected. `partitions`: of its slots."""
    return WorkerUp(
        worker=hello.worker,
        dispatcher=dispatcher,
        host=hello.host,
        slots=hello.slots,
        labels=hello.labels,
        kinds=tuple(sorted(hello.kinds.items())),
        partitions=partitions,
        draining=hello.draining,
        connected_ms=connected_ms,
        isolation=hello.isolation,
        client=client,
        instance=hello.instance,
    )
