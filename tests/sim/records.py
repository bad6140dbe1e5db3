"""Decides which wrong and old records come onto the bus, written by nobody of ours."""

import random
from collections.abc import Sequence

import msgspec
import pytest

from control.core.epochs import IDS_EACH
from control.core.records.foreign import Foreign, read
from control.model.bus.messages import (
    ENCODER,
    Announce,
    Finished,
    JobReady,
    Message,
    Placed,
    Progressed,
    Skipped,
    Started,
    Unstarted,
)
from control.model.bus.records import Record
from control.model.names import Service, Topic
from control.model.numbers import JobId, RunId
from control.model.state_rows import JobRow
from control.model.states import Outcome, Speed
from tests.services.plane import PARTITIONS, Plane
from tests.sim.checks import FOREIGN

_OF_RUNS = (Topic.TASK_RUN_RESULTS, Topic.TASK_RUN_EVENTS)


def wrong_record(plane: Plane, rng: random.Random) -> Record | None:
    """A record of a job that is not there, or of an attempt that is over; None: nothing fits."""
    known = plane.runs()
    named: tuple[int, int, int] = (rng.randint(1, 9), 2 * IDS_EACH + rng.randint(1, 10**6), 1)
    if known and rng.random() < 0.7:
        run = rng.choice(known)
        job: JobRow = rng.choice(run.jobs)
        if rng.random() < 0.5:  # Of another run, or of another life.
            named = (run.id, run.jobs[-1].id + rng.choice((1, IDS_EACH)), job.attempt)
        elif job.attempt > 1:
            named = (run.id, job.id, rng.randint(1, job.attempt - 1))
    run_id, job_id, attempt = named
    is_known = any(job_id == job.id for run in known for job in run.jobs)
    if not is_known and rng.random() < 0.3:
        return _work(plane, rng, job_id)
    topic = rng.choice(_OF_RUNS)
    messages = _said(topic, run_id, job_id, attempt, plane.clock.wall_ms())
    # Whoever says that a job of ours was skipped takes back how its attempt has ended.
    message = rng.choice([each for each in messages if not is_known or type(each) is not Skipped])
    return Record(topic, message, run_id)


def refuse_wrong_types() -> None:
    """What does not belong on its topic never gets past the edge."""
    for topic in _OF_RUNS:
        with pytest.raises(Foreign):
            read(topic, ENCODER.encode(Announce(by=Service.BALANCER)))


def _work(plane: Plane, rng: random.Random, job_id: int) -> Record:
    """Somebody has work that no run of ours knows of."""
    now_ms = plane.clock.wall_ms()
    job = JobReady(
        run_id=RunId(job_id),
        job_id=JobId(job_id),
        attempt=1,
        pipeline=FOREIGN,
        name="j",
        stage="s",
        client="ann",
        kind="Sleep",
        version="1.0.0",
        order=(10, 10, 0, 10),
        created_ms=now_ms,
        ready_ms=now_ms,
    )
    if rng.random() < 0.5:
        return Record(Topic.TASK_RUNS, job, job_id)
    partition = rng.randrange(PARTITIONS)
    placed = Placed(
        job=job,
        partition=partition,
        worker=f"w{rng.randrange(4)}",
        speed=Speed.FAST,
        expected=0.1,
        nonce=rng.randint(1, 2**62),
    )
    return Record(Topic.TASK_RUNS_LOAD_BALANCED, placed, job_id, partition)


def _said(topic: Topic, run_id: int, job_id: int, attempt: int, now_ms: int) -> Sequence[Message]:
    if topic == Topic.TASK_RUN_EVENTS:
        return (
            Started(
                run_id=RunId(run_id),
                job_id=JobId(job_id),
                attempt=attempt,
                worker="w0",
                partition=0,
                started_ms=now_ms,
            ),
            Unstarted(
                run_id=RunId(run_id),
                job_id=JobId(job_id),
                attempt=attempt,
                worker="w0",
                reason="none",
            ),
            Progressed(run_id=RunId(run_id), job_id=JobId(job_id), attempt=attempt, progress=0.5),
        )
    finished = Finished(
        run_id=RunId(run_id),
        job_id=JobId(job_id),
        attempt=attempt,
        pipeline=FOREIGN,
        name="j",
        stage="s",
        client="ann",
        kind="Sleep",
        version="1.0.0",
        worker="w0",
        partition=0,
        speed=Speed.FAST,
        outcome=Outcome.DONE,
        final=True,
        expected=0.1,
        ready_ms=now_ms,
        started_ms=now_ms,
        finished_ms=now_ms,
        wait_seconds=0.0,
        duration_seconds=0.0,
        output=msgspec.Raw(b'"wrong"'),
    )
    failed = msgspec.structs.replace(finished, outcome=Outcome.FAILED, error="wrong")
    lost = msgspec.structs.replace(failed, outcome=Outcome.LOST, final=False)
    skipped = Skipped(
        run_id=RunId(run_id),
        job_id=JobId(job_id),
        attempt=attempt,
        pipeline=FOREIGN,
        name="j",
        kind="Sleep",
        client="ann",
        ready_ms=now_ms,
        finished_ms=now_ms,
        reason="wrong",
    )
    return (finished, failed, lost, skipped)
