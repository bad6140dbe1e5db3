"""Owns the shape of a pipeline: what a pipeline file says once it has been found valid."""

from typing import Annotated

import msgspec
from msgspec import Meta

from control.model import limits
from control.model.states import Fold, Gap, Missed, Overlap, When

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,127}$"
JOB_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
STAGE_PATTERN = r"^[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,127}$"
LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/:=-]{0,127}$"
VERSION_PATTERN = r"^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, examples=["nightly-report"])]
JobName = Annotated[str, Meta(pattern=JOB_NAME_PATTERN, examples=["pull-orders"])]
StageName = Annotated[str, Meta(pattern=STAGE_PATTERN, examples=["extract"])]
Label = Annotated[str, Meta(pattern=LABEL_PATTERN, examples=["gpu"])]
EnvName = Annotated[
    str,
    Meta(pattern=ENV_NAME_PATTERN, max_length=limits.NAME_CHARS_MAX, examples=["API_URL"]),
]
ShortText = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
Text = Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)]
Priority = Annotated[
    int,
    Meta(
        ge=-limits.PRIORITY_ABS_MAX,
        le=limits.PRIORITY_ABS_MAX,
        description="Smaller runs first.",
        examples=[10],
    ),
]
Seconds = Annotated[float, Meta(ge=0, le=limits.SECONDS_MAX)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=limits.SECONDS_MAX)]

PRIORITY_DEFAULT = 10
RETRY_DELAY_MAX_DEFAULT_S = 3600.0


# Not plain defaults: msgspec makes no JSON schema of a Raw one.
def _null() -> msgspec.Raw:
    return msgspec.Raw(b"null")


def _no_params() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


class Dst(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a schedule does where the local clock jumps forward (gap) or back (fold)."""

    gap: Annotated[
        Gap,
        Meta(
            description="At a local time the clocks jump over: nothing, or the next that exists.",
            examples=["next"],
        ),
    ] = Gap.NEXT
    fold: Annotated[
        Fold,
        Meta(
            description="Which of two equal local times counts when the clocks go back.",
            examples=["first"],
        ),
    ] = Fold.FIRST


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `schedules`: when runs of the pipeline start by themselves."""

    cron: Annotated[
        Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARS_MAX)],
        Meta(
            description="Five fields, six with seconds first, or @hourly and the like.",
            examples=["0 4 * * *"],
        ),
    ]
    timezone: Annotated[
        ShortText,
        Meta(
            description="IANA name of the zone whose local time counts.", examples=["Europe/Paris"]
        ),
    ] = "UTC"
    input: Annotated[msgspec.Raw, Meta(description="The input of its runs: any JSON.")] = (
        msgspec.field(default_factory=_null)
    )
    missed: Annotated[
        Missed, Meta(description="What to make up for after an outage.", examples=["last"])
    ] = Missed.LAST
    overlap: Annotated[
        Overlap,
        Meta(description="What to do while an earlier run has not ended.", examples=["skip"]),
    ] = Overlap.ALLOW
    dst: Annotated[Dst, Meta(description="Where the local clock jumps.")] = Dst()
    window: Annotated[
        Seconds,
        Meta(
            description="Seconds in which it may start, to spread load.",
            examples=[0],
            extra={"unit": "seconds"},
        ),
    ] = 0.0
    enabled: Annotated[bool, Meta(description="False: it plans nothing.", examples=[True])] = True


class TriggerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `triggers`: a pipeline to start when a run of this one ends."""

    pipeline: Annotated[Name, Meta(description="The pipeline to start.")]
    when: Annotated[
        When, Meta(description="After which ends of this one.", examples=["on_success"])
    ] = When.ON_SUCCESS


class NotifySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `notify`: whom to send a message when a run ends."""

    target: Annotated[
        ShortText, Meta(description="A target of the workers' config.", examples=["ops"])
    ]
    when: Annotated[
        When, Meta(description="After which ends of the run.", examples=["on_failure"])
    ] = When.ON_FAILURE
    title: Annotated[
        Text | None, Meta(description="Its title; null: pipeline, state, and run.")
    ] = None
    body: Annotated[
        Text | None,
        Meta(
            description="What it says; null: what happened, and where to look.",
            examples=["${{ jobs.load.rows }} rows were loaded."],
        ),
    ] = None


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `jobs`. `version` is always filled in once a pipeline is accepted."""

    name: Annotated[JobName, Meta(description="Unique in the pipeline.")]
    stage: Annotated[StageName, Meta(description="One of the stages.")]
    kind: Annotated[ShortText, Meta(description="How it is executed.", examples=["Shell"])]
    version: Annotated[
        str, Meta(description="Of the kind's params; left out: the newest.", examples=["1.0.0"])
    ] = ""
    priority: Annotated[Priority, Meta(description="Order within the stage.")] = PRIORITY_DEFAULT
    params: Annotated[
        msgspec.Raw,
        Meta(description="As the kind's schema says.", examples=[{"command": "make pull"}]),
    ] = msgspec.field(default_factory=_no_params)
    retry_attempt: Annotated[
        Annotated[int, Meta(ge=0, le=limits.RETRY_ATTEMPT_MAX)],
        Meta(description="Further tries after a failure or time-out.", examples=[2]),
    ] = 0
    retry_delay: Annotated[
        Seconds, Meta(description="Seconds before the first retry; then doubled.", examples=[5])
    ] = 0.0
    retry_delay_max: Annotated[
        Seconds, Meta(description="No longer than this, in seconds.", examples=[3600])
    ] = RETRY_DELAY_MAX_DEFAULT_S
    allow_failure: Annotated[
        bool, Meta(description="True: its failure does not stop the run.", examples=[False])
    ] = False
    timeout: Annotated[
        PositiveSeconds | None,
        Meta(description="Seconds one attempt may run; null: any.", examples=[60]),
    ] = None
    needs: Annotated[
        Annotated[tuple[str, ...], Meta(max_length=limits.PIPELINE_JOBS_MAX)] | None,
        Meta(
            description="Jobs it waits for instead of the stages before it.",
            examples=[["pull-orders"]],
        ),
    ] = None
    when: Annotated[
        When, Meta(description="After which ends of what it waits for.", examples=["on_success"])
    ] = When.ON_SUCCESS
    labels: Annotated[
        Annotated[tuple[Label, ...], Meta(max_length=limits.LABELS_MAX)],
        Meta(description="What a worker must have.", examples=[["gpu"]]),
    ] = ()
    env: Annotated[
        Annotated[dict[EnvName, str], Meta(max_length=limits.ENV_VARS_MAX)],
        Meta(description="Environment variables.", examples=[{"API_URL": "http://api"}]),
    ] = {}


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A valid pipeline definition. Stages are in running order."""

    name: Annotated[Name, Meta(description="Its name; runs and other pipelines refer to it.")]
    stages: Annotated[
        Annotated[tuple[StageName, ...], Meta(min_length=1, max_length=limits.PIPELINE_STAGES_MAX)],
        Meta(description="In running order.", examples=[["extract", "publish"]]),
    ]
    jobs: Annotated[
        Annotated[tuple[JobSpec, ...], Meta(min_length=1, max_length=limits.PIPELINE_JOBS_MAX)],
        Meta(description="What is to be done."),
    ]
    description: Annotated[Text, Meta(description="For people.", examples=["Sales of the day"])] = (
        ""
    )
    priority: Annotated[Priority, Meta(description="Of its runs.")] = PRIORITY_DEFAULT
    timeout: Annotated[
        PositiveSeconds | None,
        Meta(description="Seconds a whole run may take; null: any.", examples=[3600]),
    ] = None
    schedules: Annotated[
        Annotated[tuple[ScheduleSpec, ...], Meta(max_length=limits.PIPELINE_SCHEDULES_MAX)],
        Meta(description="When runs start by themselves."),
    ] = ()
    triggers: Annotated[
        Annotated[tuple[TriggerSpec, ...], Meta(max_length=limits.PIPELINE_TRIGGERS_MAX)],
        Meta(description="Pipelines to start when a run of this one ends."),
    ] = ()
    notify: Annotated[
        Annotated[tuple[NotifySpec, ...], Meta(max_length=limits.PIPELINE_NOTICES_MAX)],
        Meta(description="Whom to send a message when a run ends."),
    ] = ()
