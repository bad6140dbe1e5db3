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

    gap: Gap = Gap.NEXT
    fold: Fold = Fold.FIRST


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `schedules`: when runs of the pipeline start by themselves."""

    cron: Annotated[str, Meta(min_length=1, max_length=limits.TEXT_CHARS_MAX)]
    timezone: ShortText = "UTC"
    input: msgspec.Raw = msgspec.field(default_factory=_null)
    missed: Missed = Missed.LAST
    overlap: Overlap = Overlap.ALLOW
    dst: Dst = Dst()
    window: Seconds = 0.0
    enabled: bool = True


class TriggerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `triggers`: a pipeline to start when a run of this one ends."""

    pipeline: Name
    when: When = When.ON_SUCCESS


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `jobs`. `version` is always filled in once a pipeline is accepted."""

    name: JobName
    stage: StageName
    kind: ShortText
    version: str = ""
    priority: Priority = PRIORITY_DEFAULT
    params: msgspec.Raw = msgspec.field(default_factory=_no_params)
    retry_attempt: Annotated[int, Meta(ge=0, le=limits.RETRY_ATTEMPT_MAX)] = 0
    retry_delay: Seconds = 0.0
    retry_delay_max: Seconds = RETRY_DELAY_MAX_DEFAULT_S
    allow_failure: bool = False
    timeout: PositiveSeconds | None = None
    needs: Annotated[tuple[str, ...], Meta(max_length=limits.PIPELINE_JOBS_MAX)] | None = None
    when: When = When.ON_SUCCESS
    labels: Annotated[tuple[Label, ...], Meta(max_length=limits.LABELS_MAX)] = ()
    env: Annotated[dict[EnvName, str], Meta(max_length=limits.ENV_VARS_MAX)] = {}


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A valid pipeline definition. Stages are in running order."""

    name: Name
    stages: Annotated[
        tuple[StageName, ...], Meta(min_length=1, max_length=limits.PIPELINE_STAGES_MAX)
    ]
    jobs: Annotated[tuple[JobSpec, ...], Meta(min_length=1, max_length=limits.PIPELINE_JOBS_MAX)]
    description: Text = ""
    priority: Priority = PRIORITY_DEFAULT
    timeout: PositiveSeconds | None = None
    schedules: Annotated[
        tuple[ScheduleSpec, ...], Meta(max_length=limits.PIPELINE_SCHEDULES_MAX)
    ] = ()
    triggers: Annotated[tuple[TriggerSpec, ...], Meta(max_length=limits.PIPELINE_TRIGGERS_MAX)] = ()
