"""Owns the call that examines the stored data while the control plane runs."""

from control.api.http.request import ApiResponse, Call, Operation, Route, routes_of
from control.api.ports import ProcessHealth
from control.model.api.views import CheckView, Page


class DoctorCalls:
    """Carries out the call."""

    def __init__(self, *, health: ProcessHealth) -> None:
        self._health = health

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return routes_of(self._examine)

    @Operation(
        method="GET",
        path="/v1/doctor",
        name="examine",
        summary="Look through all stored data for what cannot be",
        tag="system",
        answer=Page[CheckView],
    )
    async def _examine(self, call: Call) -> ApiResponse:
        del call
        return ApiResponse(body=Page(items=list(await self._health.examine())))
