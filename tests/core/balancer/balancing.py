"""Owns what tests of the balancer are made of: jobs, workers, ends."""

from control.core.balancer.balancer import Balancer
from control.core.balancer.policy import Assignment
from control.core.fleet.partition_classes import slot_partitions
from control.model.bus.messages import DispatcherUp, Finished, Hold, JobReady, WorkerUp
from control.model.numbers import JobId, RunId
from control.model.states import Outcome, Speed

KINDS = (("Sleep", ("1.0.0",)),)


def ready(
    job_id: int,
    *,
    order: tuple[int, int, int, int] = (10, 10, 0, 10),
    pipeline: str = "p",
    client: str = "ann",
    created_ms: int = 0,
    max_running: int | None = None,
    labels: tuple[str, ...] = (),
) -> JobReady:
    return JobReady(
        run_id=RunId(job_id),
        job_id=JobId(job_id),
        attempt=1,
        pipeline=pipeline,
        name="j",
        stage="s",
        client=client,
        kind="Sleep",
        version="1.0.0",
        order=order,
        created_ms=created_ms,
        ready_ms=created_ms,
        max_running=max_running,
        labels=labels,
    )


def worker(name: str, slots: int, balancer: Balancer, labels: tuple[str, ...] = ()) -> WorkerUp:
    return WorkerUp(
        worker=name,
        dispatcher="d",
        host="h",
        slots=slots,
        labels=labels,
        kinds=KINDS,
        partitions=tuple(slot_partitions([0] * len(balancer.classes), slots, balancer.classes)),
        draining=False,
        connected_ms=0,
    )


def held(job_id: int) -> Hold:
    return Hold(
        job_id=JobId(job_id),
        attempt=1,
        client="ann",
        pipeline="p",
        name="j",
        speed=Speed.FAST,
        expected=1.0,
        started_ms=0,
    )


def announced(dispatcher: str, partitions: tuple[int, ...], *workers: WorkerUp) -> DispatcherUp:
    return DispatcherUp(dispatcher=dispatcher, partitions=partitions, workers=workers, adrift=())


def finished(made: Assignment, seconds: float = 0.01, outcome: Outcome = Outcome.DONE) -> Finished:
    job = made.job
    return Finished(
        run_id=job.run_id,
        job_id=job.job_id,
        attempt=job.attempt,
        pipeline=job.pipeline,
        name=job.name,
        stage=job.stage,
        client=job.client,
        kind=job.kind,
        version=job.version,
        worker=made.worker,
        partition=made.partition,
        speed=made.speed,
        outcome=outcome,
        final=True,
        expected=made.expected_s,
        ready_ms=0,
        started_ms=0,
        finished_ms=0,
        wait_seconds=0.0,
        duration_seconds=seconds,
    )


def teach(balancer: Balancer, pipeline: str, seconds: float, times: int = 20) -> None:
    for _ in range(times):
        balancer.estimates.learn((pipeline, "j"), seconds)


def why(balancer: Balancer, job_id: int) -> str:
    waits = balancer.waits(JobId(job_id))
    return "" if waits is None else waits.why
