"""Owns the shapes of what is shown of schedules; their field descriptions are the API's."""

from typing import Annotated

import msgspec
from msgspec import Meta

from control.model.pipelines import ScheduleSpec
from control.model.views import Time


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """When runs of a pipeline start by themselves."""

    id: Annotated[int, Meta(description="The schedule's id.", examples=[7])]
    pipeline: Annotated[str, Meta(description="What it starts.", examples=["nightly-report"])]
    client: Annotated[str, Meta(description="Whose runs it starts.", examples=["reports"])]
    paused: Annotated[bool, Meta(description="True: by order it starts nothing.")]
    reason: Annotated[
        str | None,
        Meta(
            description="Why it starts nothing by itself; null: it does.",
            examples=["the client reports is disabled"],
        ),
    ] = None
    spec: Annotated[ScheduleSpec, Meta(description="As the pipeline's file says.")]
    next_at: Annotated[
        str | None, Meta(description="When its next run starts; null: it plans none.")
    ]
    next_nominal: Annotated[
        str | None, Meta(description="The nominal time of its next run; null: it plans none.")
    ]
    expected_seconds: Annotated[
        float | None, Meta(description="How long a run of it should take; null: not known.")
    ] = None
    dropped: Annotated[
        int,
        Meta(description="Runs that waited and will not start, because it was paused right now."),
    ] = 0


class PlannedView(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is planned."""

    schedule_id: Annotated[int, Meta(description="Whose it is.", examples=[7])]
    pipeline: Annotated[str, Meta(description="What will start.", examples=["nightly-report"])]
    nominal: Time
    due: Time
    waiting: Annotated[bool, Meta(description="True: an earlier run has to end first.")]
    backfill: Annotated[bool, Meta(description="True: it was asked for later.")]
    expected_seconds: Annotated[
        float | None, Meta(description="How long it should take; null: not known.")
    ] = None
