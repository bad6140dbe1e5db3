"""Owns the shapes of the live events; their field descriptions are the API's docs."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from control.model import limits
from control.model.api.fleet import PartitionView, WorkerView
from control.model.api.views import JobView, RunView, Time
from control.model.numbers import JobId, RunId
from control.model.states import Role

WatchedRun = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is of everything."""

    open_runs: Annotated[int, Meta(description="Runs that have not ended.")]
    waiting: Annotated[int, Meta(description="Jobs that wait.")]
    running: Annotated[int, Meta(description="Jobs that run.")]
    workers: Annotated[int, Meta(description="Workers that are connected.")]
    slots: Annotated[int, Meta(description="Their slots.")]
    queue_size: Annotated[int, Meta(description="Jobs that may wait.")] = 0


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What happened within ten seconds; the last one is still under way."""

    at: Time
    ended: Annotated[int, Meta(description="Jobs that ended.")] = 0
    attempts: Annotated[int, Meta(description="Attempts that ended, however they did.")] = 0
    errors: Annotated[int, Meta(description="Attempts that failed or timed out.")] = 0
    retries: Annotated[int, Meta(description="Attempts that will be tried again.")] = 0
    lost: Annotated[int, Meta(description="Attempts whose worker was lost.")] = 0
    waiting: Annotated[int, Meta(description="Jobs that waited at its end.")] = 0
    running: Annotated[int, Meta(description="Jobs that ran at its end.")] = 0


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator wants to hear of."""

    at: Time
    kind: Annotated[
        Literal["job_failed", "job_lost", "worker_joined", "worker_left", "class_changed"],
        Meta(description="What it is about."),
    ]
    text: Annotated[str, Meta(description="In words.", examples=["exit code 137, try 1 of 3"])]
    pipeline: str | None = None
    job: Annotated[str | None, Meta(description="The job's name.")] = None
    run_id: RunId | None = None
    job_id: JobId | None = None
    worker: str | None = None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame: a snapshot of everything, or what has changed since the frame before.

    `workers` and `partitions` in a frame of changes are those that changed, whole; a field that is
    left out has not changed.
    """

    seq: Annotated[int, Meta(description="Counts this connection's frames, from 0.")]
    time: Time
    kind: Annotated[Literal["snapshot", "changes"], Meta(description="What it holds.")]
    gap: Annotated[bool, Meta(description="True: frames were lost before this snapshot.")] = False
    version: Annotated[str | None, Meta(description="Of the server; in snapshots.")] = None
    client_id: Annotated[str | None, Meta(description="Who listens; in snapshots.")] = None
    role: Annotated[Role | None, Meta(description="What they may do; in snapshots.")] = None
    life: Annotated[
        str | None,
        Meta(
            description="Which data these are, and since which restore; in snapshots. What was "
            "shown of others is nothing of these."
        ),
    ] = None
    counts: Counts | UnsetType = UNSET
    runs: list[RunView] = []
    runs_more: Annotated[
        int, Meta(description="Changed runs that this frame leaves out: too many at once.")
    ] = 0
    jobs: list[JobView] = []
    workers: list[WorkerView] | UnsetType = UNSET
    workers_gone: Annotated[list[str], Meta(description="Workers that are listed no more.")] = []
    partitions: list[PartitionView] | UnsetType = UNSET
    pulses: Annotated[
        list[Pulse],
        Meta(
            description="The last 15 minutes in a snapshot, else the newest: one replaces the one "
            "of the same time."
        ),
    ] = []
    notes: Annotated[
        list[Note], Meta(description="The last 100 in a snapshot, else new ones.")
    ] = []


class Watch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a listener says it wants to see; whoever says nothing gets everything.

    `runs`: besides new ones only these are told of; null: all. `jobs_of`: the run whose jobs are
    told of; null: those of all runs, 0: none. `workers`: whether workers are told of.
    """

    runs: Annotated[list[WatchedRun], Meta(max_length=limits.WATCH_RUNS_MAX)] | None = None
    jobs_of: WatchedRun | None = None
    workers: bool = True
