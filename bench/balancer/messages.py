"""Owns the messages that a bench of the balancer alone makes up."""

from collections.abc import Sequence

from control.core.balancer.policy import Assignment
from control.core.fleet.partition_classes import slot_partitions
from control.model.bus.messages import Finished, JobReady, WorkerUp
from control.model.states import Outcome, Speed

_KIND, _VERSION = "Sleep", "1.0.0"


def ready(job_id: int, pipeline: str, client: str) -> JobReady:
    """A job of a run of its own that came when its id says."""
    return JobReady(
        run_id=job_id,
        job_id=job_id,
        attempt=1,
        pipeline=pipeline,
        name="job",
        stage="run",
        client=client,
        kind=_KIND,
        version=_VERSION,
        order=(10, 10, 0, 10),
        created_ms=job_id,
        ready_ms=job_id,
    )


def connected(name: str, slots: int, classes: Sequence[Speed]) -> WorkerUp:
    """A worker that has just connected."""
    return WorkerUp(
        worker=name,
        dispatcher="dispatcher",
        host="host",
        slots=slots,
        labels=(),
        kinds=((_KIND, (_VERSION,)),),
        partitions=tuple(slot_partitions([0] * len(classes), slots, classes)),
        draining=False,
        connected_ms=0,
    )


def done(made: Assignment, seconds: float) -> Finished:
    """Its job was done in so many seconds."""
    job = made.job
    return Finished(
        **job.identity(),
        worker=made.worker,
        partition=made.partition,
        speed=made.speed,
        outcome=Outcome.DONE,
        final=True,
        expected=made.expected_s,
        ready_ms=job.ready_ms,
        started_ms=job.ready_ms,
        finished_ms=job.ready_ms,
        wait_seconds=0.0,
        duration_seconds=seconds,
    )
