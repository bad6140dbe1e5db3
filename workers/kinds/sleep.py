"""Owns the kind `Sleep`: waits, and fails on request; for tests and measurements."""

from typing import Annotated, ClassVar

import msgspec
import trio
from msgspec import Meta

from control.model import limits
from control.model.errors import JobFailed
from control.model.kinds import Job, Kind, Reporter, Result


class SleepParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to sleep, and how to end."""

    seconds: Annotated[
        float, Meta(ge=0, le=limits.SECONDS_MAX, description="How long to wait.", examples=[1.5])
    ]
    fail: Annotated[bool, Meta(description="Fail after the wait.", examples=[True])] = False


class Sleep(Kind[SleepParams]):
    """Waits without using anything."""

    name: ClassVar[str] = "Sleep"
    version: ClassVar[str] = "1.0.0"
    summary: ClassVar[str] = "Wait for some seconds; end well, or fail on demand."
    params = SleepParams

    async def run(self, job: Job, params: SleepParams, report: Reporter) -> Result:  # noqa: ARG002 - The interface of all kinds.
        """Wait; without any checkpoint when there is nothing to wait for."""
        if params.seconds:
            await trio.sleep(params.seconds)
        if params.fail:
            raise JobFailed("failed, as its params say")
        return Result()
