"""Owns the call that examines the stored data while the control plane runs."""

from typing import Final

from control.api.http.request import ApiResponse, Call, Operation, Route
from control.api.ports import Parts
from control.model.api.views import CheckView, Page


class Doctor:
    """Carries out the call."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return [Route(EXAMINE, self._examine)]

    async def _examine(self, call: Call) -> ApiResponse:
        del call
        return ApiResponse(body=Page(items=list(await self._parts.health.examine())))


EXAMINE: Final = Operation(
    method="GET",
    path="/v1/doctor",
    name="examine",
    summary="Look through all stored data for what cannot be",
    tag="system",
    answer=Page[CheckView],
)
