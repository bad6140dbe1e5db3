"""Owns what the API shows of runs, jobs, pipelines, clients; field descriptions are its docs."""

from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta, Raw

from control.model.numbers import JobId, RunId
from control.model.states import Outcome, Role, State, Trigger

T = TypeVar("T")

Time = Annotated[str, Meta(description="RFC 3339, UTC.", examples=["2026-11-22T09:30:00.000Z"])]
MaybeTime = Annotated[
    str | None,
    Meta(description="RFC 3339, UTC; null: not yet.", examples=["2026-11-22T09:30:00.000Z"]),
]
RunNumber = Annotated[RunId, Meta(description="The run's id.", examples=[4711])]
JobNumber = Annotated[JobId, Meta(description="The job's id.", examples=[90210])]
PipelineText = Annotated[str, Meta(description="The pipeline's name.", examples=["nightly-report"])]
ClientText = Annotated[str, Meta(description="Who submitted it.", examples=["reports"])]
StateField = Annotated[State, Meta(description="Where it stands.", examples=["IN_PROGRESS"])]
Reason = Annotated[
    str, Meta(description="Why it is in this state, in words.", examples=["waits for a free slot"])
]
PriorityField = Annotated[int, Meta(description="Smaller runs first.", examples=[10])]
Count = Annotated[int, Meta(ge=0)]
WorkerField = Annotated[
    str | None, Meta(description="The worker's name; null: none yet.", examples=["runner-1"])
]
PartitionField = Annotated[
    int | None, Meta(description="The partition's number; null: none yet.", examples=[3])
]
ErrorField = Annotated[
    str | None, Meta(description="What went wrong, in words.", examples=["exit code 2"])
]
ExitCode = Annotated[
    int | None, Meta(description="Of the job's process, if it had one.", examples=[0])
]
AttemptNumber = Annotated[int, Meta(description="Numbered from 1.", examples=[1])]
LogBytes = Annotated[int, Meta(description="Bytes of log written.", examples=[2048])]
JsonField = Annotated[Raw, Meta(description="Any JSON.", examples=[{"day": "2026-11-22"}])]


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list. A page may be short, or empty, while there are more."""

    items: Annotated[list[T], Meta(description="The items of this page.")]
    next_cursor: Annotated[
        str | None,
        Meta(description="Give it as `cursor` for the next page; null: that was all."),
    ] = None


class StageView(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a run: how many of its jobs are in each state."""

    name: Annotated[str, Meta(description="The stage.", examples=["extract"])]
    counts: Annotated[
        dict[State, int],
        Meta(description="Jobs by state; states without jobs are left out."),
    ]


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a pipeline."""

    id: RunNumber
    pipeline: PipelineText
    revision: Annotated[
        int | None,
        Meta(description="The revision it runs; null: it was submitted unnamed.", examples=[3]),
    ]
    client: ClientText
    trigger: Annotated[Trigger, Meta(description="What made it.", examples=["api"])]
    state: StateField
    reason: Reason
    priority: PriorityField
    input: JsonField
    allowed_failures: Annotated[
        int, Meta(description="Failures that were allowed.", examples=[0])
    ] = 0
    created_at: Time
    started_at: MaybeTime = None
    finished_at: MaybeTime = None
    scheduled_for: Annotated[
        str | None,
        Meta(description="The nominal time of its schedule; null: started otherwise."),
    ] = None
    schedule_id: Annotated[
        int | None, Meta(description="The schedule that started it.", examples=[7])
    ] = None
    parent_run_id: Annotated[
        RunId | None,
        Meta(description="The run that it is a job of; null: it is none.", examples=[11]),
    ] = None
    parent_job_id: Annotated[
        JobId | None, Meta(description="That job (kind `Pipeline`).", examples=[42])
    ] = None
    stages: Annotated[
        list[StageView], Meta(description="In running order, with counts of jobs.")
    ] = []
    expected_seconds: Annotated[
        float | None,
        Meta(
            description="Seconds until it should end, as earlier runs tell; null: not known, "
            "or it has ended. In frames of live events it is always null.",
            examples=[42.5],
        ),
    ] = None


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier attempt of a job: one that another followed."""

    attempt: AttemptNumber
    outcome: Annotated[Outcome, Meta(description="How it ended.", examples=["failed"])]
    worker: WorkerField
    partition: PartitionField
    error: ErrorField
    exit_code: ExitCode
    log_bytes: LogBytes
    started_at: MaybeTime
    finished_at: Time


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest unit of work."""

    id: JobNumber
    run_id: RunNumber
    name: Annotated[str, Meta(description="Unique in its pipeline.", examples=["pull-orders"])]
    stage: Annotated[str, Meta(description="Its stage.", examples=["extract"])]
    kind: Annotated[str, Meta(description="How it is executed.", examples=["Shell"])]
    version: Annotated[str, Meta(description="Of the kind's params.", examples=["1.0.0"])]
    state: StateField
    reason: Reason
    priority: PriorityField
    attempt: AttemptNumber
    retry_attempt: Annotated[
        int, Meta(description="Further tries it has after a failure.", examples=[2])
    ]
    worker: WorkerField
    partition: PartitionField
    progress: Annotated[
        float | None, Meta(description="How much is done, from 0 to 1.", examples=[0.5])
    ]
    output: JsonField
    error: ErrorField
    created_at: Time
    ready_at: MaybeTime
    started_at: MaybeTime
    finished_at: MaybeTime
    exit_code: ExitCode
    log_bytes: LogBytes = 0
    child_run_id: Annotated[
        RunId | None,
        Meta(description="The run that it is (kind `Pipeline`), or was last.", examples=[12]),
    ] = None
    attempts: Annotated[
        list[AttemptView],
        Meta(description="Earlier attempts, oldest first; only shown of a single job."),
    ] = []


class PipelineView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored pipeline."""

    name: PipelineText
    revision: Annotated[int, Meta(description="Counts its changes, from 1.", examples=[3])]
    client: Annotated[str, Meta(description="Whose it is.", examples=["reports"])]
    description: Annotated[str, Meta(description="As its file says.", examples=["Sales"])]
    priority: PriorityField
    stages: Annotated[list[str], Meta(description="In running order.")]
    jobs: Annotated[int, Meta(description="How many jobs it has.", examples=[4])]
    created_at: Time
    updated_at: Time
    definition: Annotated[
        Raw, Meta(description="All of the definition; null in lists.", examples=[None])
    ]


class ClientView(msgspec.Struct, frozen=True, kw_only=True):
    """Who may use the API, and how much."""

    client_id: Annotated[str, Meta(description="Its name.", examples=["reports"])]
    role: Annotated[Role, Meta(description="What it may do.", examples=["submitter"])]
    priority: Annotated[
        int, Meta(description="Of all its runs; smaller runs first.", examples=[10])
    ]
    max_queued: Annotated[
        int | None, Meta(description="How many of its jobs may wait; null: any.", examples=[500])
    ]
    max_running: Annotated[
        int | None, Meta(description="How many may run at once; null: any.", examples=[8])
    ]
    enabled: Annotated[bool, Meta(description="False: refused.", examples=[True])]
    waiting: Annotated[int, Meta(description="Jobs of it that wait now.", examples=[0])] = 0
    created_at: Time


class HookView(msgspec.Struct, frozen=True, kw_only=True):
    """A door for other systems: whoever has its token may start a run of one pipeline."""

    id: Annotated[int, Meta(description="The hook's id.", examples=[12])]
    pipeline: PipelineText
    client: Annotated[str, Meta(description="Whose runs it starts.", examples=["reports"])]
    created_at: Time


class CheckView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    check: Annotated[str, Meta(description="What was looked at.", examples=["stored data"])]
    ok: Annotated[bool, Meta(description="False: something is wrong.", examples=[True])]
    detail: Annotated[str, Meta(description="What was found.", examples=["it is sound"])]
    warning: Annotated[
        bool, Meta(description="True: nothing is broken, but an operator should know.")
    ] = False
