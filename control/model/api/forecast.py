"""Owns the shapes of the forecast of planned runs; their field descriptions are the API's."""

from typing import Annotated

import msgspec
from msgspec import Meta

from control.model.api.views import Time


class ForecastBucket(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time that is to come."""

    at: Time
    runs: Annotated[int, Meta(description="Planned runs that begin in it.", ge=0)]
    slots: Annotated[
        float,
        Meta(description="Slots that planned runs keep busy on average, if all goes as before."),
    ]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What planned runs will need."""

    items: Annotated[
        list[ForecastBucket],
        Meta(description="Without a gap: from now, then from each round time on."),
    ]
    next_cursor: Annotated[None, Meta(description="Always null: that was all.")] = None
    slots: Annotated[int, Meta(description="Slots of the workers connected now.", ge=0)]
    unknown: Annotated[
        int,
        Meta(
            description="Planned runs of which nothing is known yet: among `runs`, but their "
            "slots are not counted.",
            ge=0,
        ),
    ]
