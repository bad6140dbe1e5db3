"""Owns the call about what waits at the balancer, and asks for it once a second at most."""

from typing import Annotated

import msgspec
from msgspec import Meta

from control.api.auth.permissions import only_of
from control.api.http.request import ApiResponse, Call, Operation, Route, routes_of
from control.api.http.single_flight_cache import SingleFlightCache
from control.api.ports import Balancing
from control.api.remote_balancer import SILENT
from control.model import limits
from control.model.api.queues import Queues
from control.model.errors import BalancerSilent


class QueuesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of it is shown."""

    limit: Annotated[
        int, Meta(ge=1, le=limits.QUEUES_MAX, description="Groups at most.", examples=[50])
    ] = limits.QUEUES_DEFAULT


class QueueCalls:
    """Carries out the call. However many ask, the balancer gathers it once a second."""

    def __init__(self, *, balancing: Balancing) -> None:
        self._balancing = balancing
        # Question None: of all clients; answer None: the balancer said nothing.
        self._kept: SingleFlightCache[str | None, Queues | None] = SingleFlightCache(
            limits.QUEUES_KEPT_MAX
        )

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(self._show)

    @Operation(
        method="GET",
        path="/v1/queues",
        name="listQueues",
        summary="Show what the balancer has not placed, in the order in which it will, and why",
        tag="workers",
        answer=Queues,
        query=QueuesQuery,
        errors=(422,),
    )
    async def _show(self, call: Call) -> ApiResponse:
        limit = call.query(QueuesQuery).limit
        found = await self._fresh(only_of(call.who))
        left_out = max(len(found.items) - limit, 0)
        if left_out:
            found = msgspec.structs.replace(
                found, items=found.items[:limit], groups_more=found.groups_more + left_out
            )
        return ApiResponse(body=found)

    async def _fresh(self, client: str | None) -> Queues:
        """What waits, of this client or of all; raises `BalancerSilent`."""

        async def ask() -> tuple[Queues | None, float]:
            try:
                found = await self._balancing.queues(limits.QUEUES_MAX, client)
            except BalancerSilent:
                found = None  # Kept, too: who waits for it does not have to ask it again.
            return found, limits.QUEUES_EVERY_S

        found = (await self._kept.get(client, ask)).value
        if found is None:
            raise BalancerSilent(SILENT)
        return found
