"""Owns the shapes of what waits at the balancer; their field descriptions are the API's."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from control.model.api.fleet import Class, Seconds
from control.model.api.views import ClientText, PipelineText


class WaitingGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting jobs of one name and client that wait for the same reason."""

    reason: Annotated[str, Meta(description="Why they wait.", examples=["no free slot"])]
    client: ClientText
    pipeline: PipelineText
    stage: Annotated[str, Meta(description="Of the first of them.", examples=["extract"])]
    job: Annotated[str, Meta(description="Their name.", examples=["pull-orders"])]
    speed: Class = msgspec.field(name="class")
    jobs: Annotated[int, Meta(description="How many there are.", ge=1, examples=[287])]
    order: Annotated[
        tuple[int, ...],  # As a tuple of four its schema is one that client generators refuse.
        Meta(description="Four priorities of the first: client, run, stage, job."),
    ]
    expected_seconds: Seconds
    ready_seconds: Annotated[
        float, Meta(description="For how long the first of them has been ready.", ge=0)
    ]
    run_id: Annotated[int, Meta(description="The run of the first of them.")]
    job_id: Annotated[int, Meta(description="The first of them.")]


class WaitingClass(msgspec.Struct, frozen=True, kw_only=True):
    """All waiting jobs of one class."""

    speed: Class = msgspec.field(name="class")
    jobs: Annotated[int, Meta(description="How many there are.", ge=0)]
    expected_seconds: Annotated[float, Meta(description="Of all of them together.", ge=0)]
    oldest_seconds: Annotated[
        float | None,
        Meta(description="How long the oldest of those in front has been ready; null: none waits."),
    ]


class WaitingReason(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs wait for one reason."""

    reason: Annotated[str, Meta(description="In words.", examples=["no free slot"])]
    jobs: Annotated[int, Meta(description="How many jobs.", ge=1)]


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    """What the balancer has not placed yet, in the order in which it will."""

    items: Annotated[
        list[WaitingGroup], Meta(description="Groups, the one whose head comes first first.")
    ]
    next_cursor: Annotated[None, Meta(description="Always null: there is one page.")] = None
    reasons: Annotated[list[WaitingReason], Meta(description="Of all groups, the most jobs first.")]
    classes: Annotated[list[WaitingClass], Meta(description="Of all jobs: fast, then slow.")]
    groups_more: Annotated[int, Meta(description="Groups that are left out.", ge=0)] = 0


NONE_CAN: Final = "no connected worker can run"
NO_WORKER: Final = "no worker is connected"
NONE_TAKES: Final = "the workers that can run it take nothing new now"


def is_for_ever(reason: str) -> bool:
    """Whether what waits for this reason waits until other workers come."""
    return reason.startswith((NONE_CAN, NO_WORKER, NONE_TAKES))
