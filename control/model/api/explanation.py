"""Owns the shapes of an explanation; their field descriptions are the API's."""

from typing import Annotated

import msgspec
from msgspec import Meta

from control.model.api.views import MaybeTime
from control.model.states import Speed


class WaitsView(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands at the balancer, from the policy's own records."""

    speed: Annotated[Speed, Meta(description="The class it counts as.", examples=["fast"])] = (
        msgspec.field(name="class")
    )
    expected_seconds: Annotated[
        float, Meta(description="How long it should take, in seconds.", ge=0, examples=[2.1])
    ]
    known: Annotated[
        bool,
        Meta(description="False: no job of its name has ended yet, so that is a guess."),
    ]
    may_be_sent_ahead: Annotated[
        bool, Meta(description="So short that it may wait at a worker for a slot.")
    ]
    ahead: Annotated[
        int, Meta(description="Waiting jobs that come before it.", ge=0, examples=[37])
    ]
    at_least: Annotated[bool, Meta(description="True: there may be more of them.")]
    refused: Annotated[
        str | None,
        Meta(
            description="What the policy found when it looked last; null: it has not come to it.",
            examples=["no free slot"],
        ),
    ]
    refused_at: MaybeTime


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job is in its state, and what led there."""

    reason: Annotated[str, Meta(description="In one sentence.", examples=["no free slot"])]
    steps: Annotated[
        list[str],
        Meta(
            description="What led there, in order.",
            examples=[["submitted at 2026-11-22T09:30:00.000Z", "waits for extract (READY)"]],
        ),
    ]
    waits: Annotated[
        WaitsView | None, Meta(description="Null: it does not wait at the balancer.")
    ] = None
