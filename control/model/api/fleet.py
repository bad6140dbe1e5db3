"""Owns what is shown of workers and partitions; field descriptions are the API's docs."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from control.model.api.balancer import LoadOfPartition
from control.model.api.views import MaybeTime, Time
from control.model.states import Speed
from control.model.worker.isolation import Isolation

Seconds = Annotated[float, Meta(description="Seconds.", ge=0, examples=[1.25])]
Class = Annotated[Speed, Meta(description="The class: slow or fast.", examples=["fast"])]
PartitionNumber = Annotated[int, Meta(description="The partition's number.", examples=[3])]


class RunningView(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker has been given."""

    job_id: Annotated[int, Meta(description="The job's id.", examples=[90210])]
    run_id: Annotated[
        int | None, Meta(description="Its run; null: not known since a restart.", examples=[4711])
    ]
    attempt: Annotated[int, Meta(description="Numbered from 1.", examples=[1])]
    pipeline: Annotated[str, Meta(description="The pipeline's name.", examples=["nightly"])]
    name: Annotated[str, Meta(description="The job's name.", examples=["pull-orders"])]
    worker: Annotated[str, Meta(description="Who has it.", examples=["runner-1"])]
    partition: Annotated[
        int | None, Meta(description="The partition's number; null: not known.", examples=[3])
    ]
    expected: Annotated[
        float,
        Meta(description="Seconds it should take.", examples=[2.5], extra={"unit": "seconds"}),
    ]
    started_at: MaybeTime


GONE: Final = frozenset({"drained", "lost"})
"""States of a worker that is not connected any more."""


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker: connected, leaving, or gone a short while ago."""

    id: Annotated[str, Meta(description="The worker's name.", examples=["runner-1"])]
    host: Annotated[str, Meta(description="Where it runs.", examples=["build-7"])]
    dispatcher: Annotated[str, Meta(description="Whom it is connected to.", examples=["d1"])]
    state: Annotated[
        Literal["connected", "draining", "drained", "lost"],
        Meta(
            description="Those that are gone are listed for ten minutes: drained ones had nothing "
            "left to do, lost ones are missed.",
            examples=["connected"],
        ),
    ]
    reason: Annotated[
        str,
        Meta(
            description="Why it is gone, or can start no jobs; empty otherwise.",
            examples=["silent for 10 s"],
        ),
    ]
    slots: Annotated[int, Meta(description="Jobs it runs at once.", examples=[4])]
    labels: Annotated[tuple[str, ...], Meta(description="What it has.", examples=[["gpu"]])]
    kinds: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="Kinds it can execute, with versions.", examples=[{"Shell": ["1.0.0"]}]),
    ]
    partitions: Annotated[
        tuple[int, ...], Meta(description="One for each slot.", examples=[[0, 1]])
    ]
    running: Annotated[list[RunningView], Meta(description="What it has been given.")]
    connected_at: Time
    silent_since: Annotated[
        str | None, Meta(description="It has said nothing since then; null: it speaks.")
    ] = None
    lost_at: MaybeTime = None
    drained_at: MaybeTime = None
    isolation: Annotated[
        Isolation | None,
        Meta(description="What its jobs can and cannot reach; null: it does not say."),
    ] = None
    sick: Annotated[
        str | None,
        Meta(
            description="Why it can start no jobs now; they go to others. Null: it is well.",
            examples=["No space left on device"],
        ),
    ] = None


class PartitionView(msgspec.Struct, frozen=True, kw_only=True):
    """A lane of jobs on their way to workers."""

    partition: PartitionNumber
    speed: Class = msgspec.field(name="class")
    slots: Annotated[int, Meta(description="Workers' slots in it.", ge=0, examples=[4])]
    depth: Annotated[int, Meta(description="Jobs that wait in it.", ge=0, examples=[2])]
    running: Annotated[int, Meta(description="Jobs that run in it.", ge=0, examples=[4])]
    expected_seconds: Annotated[
        float, Meta(description="Expected work in it, in seconds.", ge=0, examples=[12.5])
    ]
    ahead_seconds: Annotated[
        float,
        Meta(description="Work sent ahead, to wait at workers for a slot.", ge=0, examples=[0.01]),
    ]
    window_seconds: Annotated[
        float, Meta(description="How much work may be sent ahead.", ge=0, examples=[0.08])
    ]
    oldest_age_seconds: Annotated[
        float | None,
        Meta(description="Since its oldest job was placed; null: it is empty.", examples=[3.1]),
    ]
    workers: Annotated[list[str], Meta(description="Who serves it.", examples=[["runner-1"]])]
    head: Annotated[
        RunningView | None, Meta(description="The job in it that has run longest; null: none.")
    ] = None
    placed_per_minute: Annotated[
        float, Meta(description="Jobs that came into it, in the last minute.", ge=0)
    ] = 0.0
    ended_per_minute: Annotated[
        float, Meta(description="Jobs that ended in it, in the last minute.", ge=0)
    ] = 0.0


class PartitionWithJobs(PartitionView, frozen=True, kw_only=True):
    """A partition with what was placed in it."""

    jobs: Annotated[
        list[RunningView],
        Meta(description="What runs, by its start; then what was sent ahead, first one first."),
    ]


def show_partition(
    load: LoadOfPartition,
    head: RunningView | None,
    now_ms: int,
    per_minute: tuple[float, float] = (0.0, 0.0),
) -> PartitionView:
    """A partition as it is shown. `per_minute`: how many jobs came into it, and ended in it."""
    oldest = load.oldest_ms
    return PartitionView(
        partition=load.partition,
        speed=load.speed,
        slots=load.slots,
        depth=load.depth,
        running=load.running,
        expected_seconds=max(load.expected_s, 0.0),
        ahead_seconds=max(load.ahead_s, 0.0),
        window_seconds=max(load.window_s, 0.0),
        oldest_age_seconds=None if oldest is None else max(now_ms - oldest, 0) / 1000,
        workers=list(load.workers),
        head=head,
        placed_per_minute=per_minute[0],
        ended_per_minute=per_minute[1],
    )
