"""Owns the shapes of the statistics' reports; their field descriptions are the API's.

A job counts once, by the last end it had in the window. An attempt is one try of it that was given
to a worker. The reports on pipelines and classes measure each job's last attempt, those on tasks,
partitions, and workers every attempt; one that never began to execute has neither wait nor
duration.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from control.model.states import Outcome, Speed

Cell = str | int | float | bool | None

Name = Annotated[str, Meta(description="The pipeline's name.", examples=["nightly-report"])]
JobName = Annotated[str, Meta(description="The job's name.", examples=["pull-orders"])]
_SECONDS: Final = {"unit": "seconds"}
Seconds = Annotated[float, Meta(description="Seconds.", ge=0, examples=[1.25], extra=_SECONDS)]
SlotSeconds = Annotated[
    float, Meta(description="Seconds that slots were busy with it.", ge=0, examples=[5321.5])
]
Class = Annotated[Speed, Meta(description="The class: slow or fast.", examples=["fast"])]
Done = Annotated[int, Meta(description="Jobs that ended as DONE.", ge=0, examples=[98])]
Failed = Annotated[int, Meta(description="Jobs that ended as ERROR.", ge=0, examples=[1])]
Cancelled = Annotated[int, Meta(description="Jobs that were cancelled.", ge=0, examples=[1])]
Jobs = Annotated[int, Meta(description="Jobs that ended.", ge=0, examples=[100])]
Attempts = Annotated[int, Meta(description="Attempts that ended.", ge=0, examples=[103])]
Runs = Annotated[int, Meta(description="Runs of which a job ended.", ge=0, examples=[25])]
Retries = Annotated[
    int,
    Meta(description="Attempts that were not a job's last: failed or lost, tried again.", ge=0),
]
Lost = Annotated[int, Meta(description="Attempts whose worker was lost.", ge=0, examples=[0])]
Errors = Annotated[int, Meta(description="Attempts that failed or timed out.", ge=0)]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How seconds are distributed; percentiles are interpolated. Null: there was nothing."""

    mean: Seconds | None
    p50: Seconds | None
    p95: Seconds | None
    p99: Seconds | None
    max: Seconds | None


Wait = Annotated[Spread, Meta(description="From being ready to run until execution began.")]
Duration = Annotated[Spread, Meta(description="From the begin of execution to its end.")]


class ClassStats(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that were executed in partitions of one class."""

    speed: Class = msgspec.field(name="class")
    jobs: Jobs
    wait: Wait
    duration: Duration


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All that ended in the window."""

    window: Annotated[
        float, Meta(description="How far back the report looks, in seconds.", examples=[86400.0])
    ]
    runs: Runs
    jobs: Jobs
    done: Done
    error: Failed
    cancelled: Cancelled
    retries: Retries
    lost: Lost
    throughput: Annotated[
        float, Meta(description="Jobs that ended per second of the window.", examples=[12.5])
    ]
    busy_slots: Annotated[
        float,
        Meta(
            description="Slots that were busy on average in the window, with attempts that ended.",
            examples=[3.7],
        ),
    ]
    wait: Wait
    duration: Duration
    classes: Annotated[
        tuple[ClassStats, ...], Meta(description="The same by class of partition.")
    ] = ()


class PipelineStats(msgspec.Struct, frozen=True, kw_only=True):
    """What ended of one pipeline in the window."""

    pipeline: Name
    runs: Runs
    jobs: Jobs
    done: Done
    error: Failed
    cancelled: Cancelled
    retries: Retries
    wait: Wait
    duration: Duration


class TaskStats(msgspec.Struct, frozen=True, kw_only=True):
    """One job of one pipeline: where the slots' time goes, and whether it takes longer now."""

    pipeline: Name
    job: JobName
    kind: Annotated[str, Meta(description="How it is executed.", examples=["Shell"])]
    speed: Class = msgspec.field(name="class")
    n: Annotated[int, Meta(description="Attempts that began and ended.", ge=1, examples=[103])]
    errors: Errors
    error_rate: Annotated[
        float, Meta(description="The part of them that failed or timed out.", ge=0, le=1)
    ]
    mean: Seconds
    p50: Seconds
    p95: Seconds
    p99: Seconds
    max: Seconds
    slot_seconds: SlotSeconds
    share: Annotated[
        float, Meta(description="Its part of all slot-seconds in the window.", ge=0, le=1)
    ]
    p95_before: Annotated[
        float | None,
        Meta(
            description="p95 in the window before this one; null: nothing ended.",
            extra=_SECONDS,
        ),
    ]
    p95_delta: Annotated[
        float | None,
        Meta(description="Seconds by which p95 grew since that window.", extra=_SECONDS),
    ]
    trend: Annotated[
        tuple[float | None, ...],
        Meta(description="p95 in each 24th of the window, oldest first; null: nothing ended."),
    ]


class DurationBucket(msgspec.Struct, frozen=True, kw_only=True):
    """How many attempts took so long."""

    below: Annotated[
        float | None, Meta(description="Seconds that all of them stayed below; null: any longer.")
    ]
    n: Annotated[int, Meta(description="Attempts that ended.", ge=0)]


class SlowAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that ended."""

    job_id: Annotated[int, Meta(description="The job's id.", examples=[90210])]
    run_id: Annotated[int, Meta(description="Its run.", examples=[4711])]
    attempt: Annotated[int, Meta(description="Numbered from 1.", examples=[1])]
    client: Annotated[str, Meta(description="Whose it was.", examples=["reports"])]
    worker: Annotated[str, Meta(description="Who executed it.", examples=["runner-1"])]
    outcome: Annotated[Outcome, Meta(description="How it ended.", examples=["done"])]
    wait_seconds: Seconds
    duration_seconds: Seconds
    finished_at: Annotated[str, Meta(description="RFC 3339, UTC.")]


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One job of one pipeline: how long its attempts took, and which took longest."""

    pipeline: Name
    job: JobName
    histogram: Annotated[
        tuple[DurationBucket, ...], Meta(description="Shortest first; empty: nothing ended.")
    ]
    wait: Wait
    duration: Duration
    slowest: Annotated[tuple[SlowAttempt, ...], Meta(description="Attempts, the longest first.")]


class WorkerAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that a worker executed to its end."""

    job_id: Annotated[int, Meta(description="The job's id.", examples=[90210])]
    run_id: Annotated[int, Meta(description="Its run.", examples=[4711])]
    attempt: Annotated[int, Meta(description="Numbered from 1.", examples=[1])]
    pipeline: Name
    job: JobName
    outcome: Annotated[Outcome, Meta(description="How it ended.", examples=["done"])]
    started_at: Annotated[str, Meta(description="RFC 3339, UTC.")]
    finished_at: Annotated[str, Meta(description="RFC 3339, UTC.")]


class PartitionStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one partition executed in the window."""

    partition: Annotated[int, Meta(description="The partition's number.", examples=[0])]
    speed: Class = msgspec.field(name="class")
    attempts: Attempts
    jobs: Jobs
    wait: Wait
    duration: Duration
    slot_seconds: SlotSeconds


class WorkerStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker executed in the window."""

    worker: Annotated[str, Meta(description="The worker's name.", examples=["runner-1"])]
    attempts: Attempts
    jobs: Jobs
    errors: Errors
    lost: Lost
    duration: Duration
    slot_seconds: SlotSeconds
    throughput: Annotated[float, Meta(description="Jobs per second of the window.", examples=[2.5])]


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """The last durations of one job of one pipeline, oldest first: what a balancer starts with."""

    pipeline: str
    job: str
    durations: tuple[float, ...]


class QueryResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a query over the facts gave. Lists, times, and the like are given as text."""

    columns: Annotated[tuple[str, ...], Meta(description="The columns' names.")]
    rows: Annotated[tuple[tuple[Cell, ...], ...], Meta(description="The rows' values.")]
    truncated: Annotated[bool, Meta(description="True: there were more rows than the limit.")]
