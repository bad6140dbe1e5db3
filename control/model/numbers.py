"""Owns the ranges of numbers in messages and frames: what a database, JSON, and a date can hold.

Decoders refuse what is outside. So no reader has to ask whether a number from outside
fits into a column, an instant, or a list of partitions; what it stands for is still to be checked.
"""

from typing import Annotated, NewType

from msgspec import Meta

from control.model import limits

Count = Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
RunId = NewType("RunId", int)
JobId = NewType("JobId", int)
# In messages and frames, which hold no other numbers.
RunIdField = Annotated[RunId, Meta(ge=0, le=limits.NUMBER_MAX)]
JobIdField = Annotated[JobId, Meta(ge=0, le=limits.NUMBER_MAX)]
Attempt = Annotated[int, Meta(ge=0, le=2**31)]
Instant = Annotated[int, Meta(ge=0, le=limits.TIME_MS_MAX)]  # UTC milliseconds.
Partition = Annotated[int, Meta(ge=0, lt=limits.PARTITIONS_MAX)]
Priority = Annotated[int, Meta(ge=-limits.NUMBER_MAX, le=limits.NUMBER_MAX)]
Epoch = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # Of a lease.
ExitCode = Annotated[int, Meta(ge=-(2**31), le=2**32)]
LogOffset = Annotated[int, Meta(ge=0, le=limits.LOG_OFFSET_MAX)]  # In bytes.
Share = Annotated[float, Meta(ge=0, le=1)]
# Seconds by two hosts' clocks may be below zero; sums of expected ones may be very long.
Seconds = Annotated[float, Meta(ge=-limits.NUMBER_MAX, le=limits.NUMBER_MAX)]
