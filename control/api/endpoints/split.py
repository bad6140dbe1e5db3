"""Owns the calls about the rules by which partitions are divided and jobs are placed."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from control.api.http.request import ApiResponse, Call, Operation, Route, routes_of
from control.api.ports import Balancing
from control.api.remote_balancer import SILENT
from control.model.api.balancer import ClassChange, Rules
from control.model.api.fleet import Class, Seconds
from control.model.api.views import Time
from control.model.errors import BalancerSilent
from control.model.times import to_rfc3339
from control.transactions import split
from store.database.writer import Writer

AUTO: Final = "auto"

Percent = Annotated[float, Meta(ge=0, le=100)]
Slow = Annotated[
    Percent | Literal["auto"],
    Meta(
        description="Percent of the partitions for slow jobs, 0 to 100; auto: it follows the mix.",
        examples=[60, "auto"],
    ),
]


class SetSplit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the partitions shall be divided."""

    slow: Slow


class SplitSet(msgspec.Struct, frozen=True, kw_only=True):
    """How the partitions are divided from now on, also after a restart."""

    slow: Slow


class StragglerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that takes longer than the others for the same jobs."""

    worker: Annotated[str, Meta(description="The worker's name.", examples=["runner-1"])]
    factor: Annotated[float, Meta(description="How many times as long.", examples=[4.8])]


class ClassChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of a name became slow, or fast again."""

    at: Time
    pipeline: Annotated[str, Meta(description="The pipeline's name.", examples=["nightly"])]
    job: Annotated[str, Meta(description="The job's name.", examples=["pull-orders"])]
    speed: Class = msgspec.field(name="class")
    expected_seconds: Seconds
    threshold_seconds: Seconds
    reason: Annotated[
        str, Meta(description="What made it so.", examples=["the threshold moved from 9 to 4 s"])
    ]


class RulesView(msgspec.Struct, frozen=True, kw_only=True):
    """What the balancer goes by now."""

    slow: Annotated[
        float,
        Meta(description="Percent of the partitions for slow jobs.", ge=0, le=100, examples=[60.0]),
    ]
    slow_auto: Annotated[bool, Meta(description="True: it follows the mix.", examples=[False])]
    threshold_seconds: Annotated[
        float, Meta(description="Jobs that take at least so long are slow.", examples=[12.5])
    ]
    threshold_auto: Annotated[
        bool, Meta(description="True: it is learned from the mix.", examples=[True])
    ]
    lend: Annotated[
        bool, Meta(description="Whether a class takes the other's free slots.", examples=[True])
    ]
    slots: Annotated[int, Meta(description="Slots of all workers.", ge=0, examples=[20])]
    reserve: Annotated[
        int, Meta(description="Slots that slow jobs leave free.", ge=0, examples=[1])
    ]
    slow_running: Annotated[int, Meta(description="Slow jobs that have a slot.", ge=0)]
    waiting: Annotated[int, Meta(description="Jobs that wait for a slot.", ge=0, examples=[37])]
    stragglers: Annotated[list[StragglerView], Meta(description="The slowest first.")]
    changes: Annotated[list[ClassChangeView], Meta(description="The last ones, newest first.")]


class SplitCalls:
    """Carries out the calls about the split."""

    def __init__(self, *, writer: Writer, balancing: Balancing) -> None:
        self._writer = writer
        self._balancing = balancing

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(self._show, self._set)

    @Operation(
        method="GET",
        path="/v1/partitions/split",
        name="showSplit",
        summary="Show the rules by which partitions are divided and jobs are placed",
        tag="workers",
        answer=RulesView,
    )
    async def _show(self, call: Call) -> ApiResponse:
        del call
        rules = self._balancing.rules()
        if rules is None:
            raise BalancerSilent(SILENT)
        return ApiResponse(body=show_rules(rules))

    @Operation(
        method="PUT",
        path="/v1/partitions/split",
        name="setSplit",
        summary="Divide the partitions anew; it is kept over restarts",
        tag="workers",
        answer=SplitSet,
        body=SetSplit,
        errors=(400, 413, 415, 422),
    )
    async def _set(self, call: Call) -> ApiResponse:
        slow = (await call.json(_SET)).slow
        share = None if slow == AUTO else slow / 100
        await self._writer.write(lambda tx: split.put(tx, share))
        return ApiResponse(body=SplitSet(slow=slow))


def show_rules(rules: Rules) -> RulesView:
    """The rules as they are shown."""
    slowest_first = sorted(rules.stragglers, key=lambda known: -known[1])
    return RulesView(
        slow=min(max(rules.slow_share, 0.0), 1.0) * 100,
        slow_auto=rules.split_auto,
        threshold_seconds=rules.threshold_s,
        threshold_auto=rules.threshold_auto,
        lend=rules.lend,
        slots=rules.slots,
        reserve=rules.reserve,
        slow_running=rules.slow_running,
        waiting=rules.waiting,
        stragglers=[StragglerView(worker=name, factor=factor) for name, factor in slowest_first],
        changes=[_show_change(change) for change in rules.changes or ()],
    )


def _show_change(change: ClassChange) -> ClassChangeView:
    return ClassChangeView(
        at=to_rfc3339(change.at_ms),
        pipeline=change.pipeline,
        job=change.name,
        speed=change.speed,
        expected_seconds=change.expected_s,
        threshold_seconds=change.threshold_s,
        reason=change.reason,
    )


_SET: Final = msgspec.json.Decoder(SetSplit)
