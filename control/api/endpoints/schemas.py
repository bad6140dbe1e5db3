"""Owns what callers send: request bodies and query parameters, with the words of the docs."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from control.api.http.request import Cursor, Limit
from control.model import limits
from control.model.pipelines import NAME_PATTERN, PRIORITY_DEFAULT
from control.model.raw import NULL
from control.model.states import Role, State

ClientName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="The client's name.",
        examples=["reports"],
    ),
]
Quota = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Input = Annotated[
    Raw, Meta(description="Any JSON, 1 MiB at most.", examples=[{"day": "2026-11-22"}])
]
Priority = Annotated[
    int,
    Meta(
        ge=-limits.PRIORITY_ABS_MAX,
        le=limits.PRIORITY_ABS_MAX,
        description="Smaller runs first; null or left out: the pipeline's.",
        examples=[10],
    ),
]
PipelineName = Annotated[
    str, Meta(pattern=NAME_PATTERN, description="A pipeline's name.", examples=["nightly-report"])
]
Time = Annotated[
    str,
    Meta(max_length=64, description="RFC 3339 with an offset.", examples=["2026-11-22T09:30:00Z"]),
]
Window = Annotated[
    str,
    Meta(max_length=32, description="Such as 15m, 24h, 7d; bare: seconds.", examples=["24h"]),
]
MaxQueued = Annotated[
    Quota | None, Meta(description="How many of its jobs may wait; null: any.", examples=[500])
]
MaxRunning = Annotated[
    Quota | None, Meta(description="How many of its jobs may run; null: any.", examples=[8])
]
ClientPriority = Annotated[
    int,
    Meta(
        ge=-limits.PRIORITY_ABS_MAX,
        le=limits.PRIORITY_ABS_MAX,
        description="Of all its runs; smaller runs first.",
        examples=[10],
    ),
]
RoleField = Annotated[Role, Meta(description="What it may do.", examples=["submitter"])]
Enabled = Annotated[bool, Meta(description="False: refused.", examples=[True])]


def _null() -> Raw:
    # Not a plain default: the JSON schema could not be made of one.
    return NULL


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class StartRun(_Body, frozen=True, kw_only=True):
    """How to run a stored pipeline."""

    input: Input = msgspec.field(default_factory=_null)
    priority: Priority | None = None


class StartUnnamed(_Body, frozen=True, kw_only=True):
    """A definition to run once without storing it."""

    pipeline: Annotated[
        Raw,
        Meta(
            description="The definition, as in a pipeline file.",
            examples=[
                {
                    "name": "once",
                    "stages": ["only"],
                    "jobs": [
                        {
                            "name": "wait",
                            "stage": "only",
                            "kind": "Sleep",
                            "params": {"seconds": 1},
                        }
                    ],
                }
            ],
        ),
    ]
    input: Input = msgspec.field(default_factory=_null)
    priority: Priority | None = None


class BatchItem(_Body, frozen=True, kw_only=True):
    """One run of a batch."""

    pipeline: PipelineName
    input: Input = msgspec.field(default_factory=_null)
    priority: Priority | None = None


class Batch(_Body, frozen=True, kw_only=True):
    """Runs to start together: all or none."""

    runs: Annotated[
        list[BatchItem],
        Meta(
            min_length=1,
            max_length=limits.BATCH_RUNS_MAX,
            description="The runs; their ids come back in this order.",
            examples=[[{"pipeline": "nightly-report", "input": {"day": "2026-11-22"}}]],
        ),
    ]


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a batch that was started."""

    id: Annotated[int, Meta(description="The run's id.", examples=[4711])]


class BatchStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a batch, in its order."""

    runs: Annotated[list[Started], Meta(description="One for each run asked for.")]


class ChangeJob(_Body, frozen=True, kw_only=True):
    """What can be changed of a job that waits."""

    priority: Annotated[
        int,
        Meta(
            ge=-limits.PRIORITY_ABS_MAX,
            le=limits.PRIORITY_ABS_MAX,
            description="Its order within the stage; smaller first.",
            examples=[5],
        ),
    ]


class NewClient(_Body, frozen=True, kw_only=True):
    """A client to be made."""

    client_id: ClientName
    role: RoleField
    priority: ClientPriority = PRIORITY_DEFAULT
    max_queued: MaxQueued = None
    max_running: MaxRunning = None
    enabled: Enabled = True


class ChangeClient(_Body, frozen=True, kw_only=True):
    """What to change of a client; what is left out stays."""

    role: RoleField | UnsetType = UNSET
    priority: ClientPriority | UnsetType = UNSET
    max_queued: MaxQueued | UnsetType = UNSET
    max_running: MaxRunning | UnsetType = UNSET
    enabled: Enabled | UnsetType = UNSET


class Backfill(_Body, frozen=True, kw_only=True):
    """The stretch of time whose nominal times are to be run now."""

    start: Time = msgspec.field(name="from")
    until: Time


class BackfillQuery(_Body, frozen=True, kw_only=True):
    """The stretch of time that a backfill would be of."""

    since: Time
    until: Time


class PageQuery(_Body, frozen=True, kw_only=True):
    """Which part of a list."""

    limit: Limit = limits.PAGE_DEFAULT
    cursor: Cursor | None = None


class JobsQuery(_Body, frozen=True, kw_only=True):
    """Which part of a run's jobs; by default all of them."""

    limit: Limit = limits.PIPELINE_JOBS_MAX
    cursor: Cursor | None = None


class RunsQuery(_Body, frozen=True, kw_only=True):
    """Which runs."""

    pipeline: PipelineName | None = None
    state: Annotated[State, Meta(description="Only those.", examples=["ERROR"])] | None = None
    client: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX, description="Whose.")] | None = (
        None
    )
    since: Time | None = None
    limit: Limit = limits.PAGE_DEFAULT
    cursor: Cursor | None = None


class LogsQuery(_Body, frozen=True, kw_only=True):
    """Which attempt's log, and whether to wait for more of it."""

    follow: Annotated[
        bool, Meta(description="Goes on until the attempt has ended.", examples=[True])
    ] = False
    attempt: Annotated[int, Meta(ge=1, le=1_000_000, description="Default: the newest.")] | None = (
        None
    )


class WindowQuery(_Body, frozen=True, kw_only=True):
    """How far back to look."""

    window: Window = "24h"


class ExportQuery(_Body, frozen=True, kw_only=True):
    """How to write the facts."""

    format: Annotated[
        Literal["parquet", "csv", "json"],
        Meta(description="What kind of file.", examples=["parquet"]),
    ] = "parquet"
    window: Annotated[
        Annotated[str, Meta(max_length=32)] | None,
        Meta(
            description="Only of jobs that became ready in the last 15m, 24h, 7d; without it: all.",
            examples=["24h"],
        ),
    ] = None


class Sql(_Body, frozen=True, kw_only=True):
    """A question to the facts."""

    sql: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.QUERY_CHARS_MAX,
            description="One SELECT, in DuckDB's SQL, over the table `facts`.",
            examples=["SELECT kind, count(*) AS attempts FROM facts GROUP BY kind"],
        ),
    ]
    limit: Annotated[
        int,
        Meta(ge=1, le=limits.QUERY_ROWS_MAX, description="Rows at most.", examples=[100]),
    ] = limits.REPORT_ROWS_MAX


class RowsQuery(_Body, frozen=True, kw_only=True):
    """How far back to look, and how many rows to give."""

    window: Window = "24h"
    limit: Limit = 100


class TaskQuery(_Body, frozen=True, kw_only=True):
    """Which job of which pipeline, how far back to look, how many of its slowest attempts."""

    pipeline: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.NAME_CHARS_MAX,
            description="The pipeline's name.",
            examples=["nightly-report"],
        ),
    ]
    job: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=limits.NAME_CHARS_MAX,
            description="The job's name.",
            examples=["pull-orders"],
        ),
    ]
    window: Window = "24h"
    limit: Annotated[int, Meta(ge=1, le=100, description="Slowest attempts at most.")] = 20


class HistoryQuery(_Body, frozen=True, kw_only=True):
    """How far back to look, and how many attempts to give."""

    window: Window = "15m"
    limit: Limit = 500


class ForecastQuery(_Body, frozen=True, kw_only=True):
    """Up to when to look ahead, and how finely."""

    until: Time | None = None
    bucket: Annotated[
        int, Meta(ge=60, le=86_400, description="Seconds of each stretch.", examples=[1800])
    ] = 1_800


class SchedulesQuery(_Body, frozen=True, kw_only=True):
    """Which schedules."""

    pipeline: PipelineName | None = None
    limit: Limit = limits.PAGE_DEFAULT
    cursor: Cursor | None = None


class PlanQuery(_Body, frozen=True, kw_only=True):
    """How finely, and how many of the next runs of each schedule."""

    bucket: (
        Annotated[
            int,
            Meta(
                ge=limits.PLAN_STRETCH_MIN_S,
                le=86_400,
                description="Seconds of each stretch; left out: no stretches.",
                examples=[1800],
            ),
        ]
        | None
    ) = None
    next: Annotated[
        int, Meta(ge=0, le=limits.PLAN_NEXT_MAX, description="Runs of each.", examples=[5])
    ] = 5
    limit: Limit = limits.PAGE_DEFAULT
    cursor: Cursor | None = None


class ScheduledQuery(_Body, frozen=True, kw_only=True):
    """Up to when."""

    until: Time | None = None
    limit: Limit = limits.PAGE_DEFAULT
    cursor: Cursor | None = None
