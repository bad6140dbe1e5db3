"""Owns the shapes of what is shown of schedules; their field descriptions are the API's."""

from typing import Annotated

import msgspec
from msgspec import Meta

from control.model.api.views import Time
from control.model.pipelines import ScheduleSpec


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


class PlannedStretch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time in which something is planned."""

    at: Annotated[str, Meta(description="When the first of them is due; RFC 3339, UTC.")]
    runs: Annotated[int, Meta(description="How many are due in it.", ge=1, examples=[30])]


class SchedulePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one schedule has planned, in short: as much for one that fires each second."""

    schedule_id: Annotated[int, Meta(description="Whose it is.", examples=[7])]
    at: Annotated[
        str,
        Meta(description="When it was so: what was due earlier waits. RFC 3339, UTC."),
    ]
    until: Annotated[
        str,
        Meta(
            description="How far it is planned: one of seconds less far than 48 hours. "
            "RFC 3339, UTC."
        ),
    ]
    runs: Annotated[int, Meta(description="Planned runs.", ge=0, examples=[48])]
    shortest_seconds: Annotated[
        float | None,
        Meta(
            description="Between the two planned nominal times that are nearest to each other; "
            "null: there is one at most.",
            examples=[3600.0],
        ),
    ] = None
    next: Annotated[list[PlannedView], Meta(description="The next ones, the first first.")] = []
    stretches: Annotated[
        list[PlannedStretch],
        Meta(description="Those in which something is due, where `bucket` is set."),
    ] = []
