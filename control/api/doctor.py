"""Owns the call that examines the stored data while the control plane runs."""

from typing import Final

from control.api.calls import Answer, Call, Operation, Route
from control.api.ports import Parts
from control.core.offsets import OffsetTracker
from control.model.views import CheckView, Page
from store import doctor


class Doctor:
    """Carries out the call."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Which call is carried out by what."""
        return [Route(EXAMINE, self._examine)]

    async def _examine(self, call: Call) -> Answer:
        del call
        found = await self._parts.reader.read(
            lambda conn: doctor.examine(conn, lambda text: OffsetTracker.decode(text).watermark)
        )
        checks = [
            CheckView(check=f"stored data, {each.rule}", ok=False, detail=each.message)
            for each in found
        ]
        sound = CheckView(check="stored data", ok=True, detail="it is sound")
        checks = checks or [sound]
        return Answer(body=Page(items=[*checks, *await self._parts.health.examine()]))


EXAMINE: Final = Operation(
    method="GET",
    path="/v1/doctor",
    name="examine",
    summary="Look through all stored data for what cannot be; takes a while",
    tag="system",
    answer=Page[CheckView],
)
