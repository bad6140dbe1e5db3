"""Owns how a worker says what its jobs can and cannot reach, and what may be asked of it."""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from control.model import limits

Words = Annotated[str, Meta(max_length=limits.ISOLATION_CHARS_MAX)]
Several = Annotated[tuple[Words, ...], Meta(max_length=limits.ISOLATION_LINES_MAX)]


class IsolationMode(StrEnum):
    """How much isolation an operator asks for."""

    AUTO = "auto"  # As much as the kernel has.
    REQUIRED = "required"  # All of it, or no start.
    NONE = "none"


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between a worker's jobs and everything else on its host."""

    isolated: Annotated[
        Several,
        Meta(
            description="What a job cannot reach.",
            examples=[["the control plane's and the worker's files"]],
        ),
    ] = ()
    open: Annotated[
        Several, Meta(description="What every job can reach.", examples=[["the network"]])
    ] = ()
    warnings: Annotated[
        Several,
        Meta(description="What an operator should know or mend.", examples=[["jobs run as root"]]),
    ] = ()


ALWAYS_OPEN: Final = ("the network, this host's own ports too", "memory and CPU without limit")
