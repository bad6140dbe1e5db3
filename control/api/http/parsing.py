"""Owns where documents are parsed: in threads, large ones one after the other, clients in turns."""

from collections.abc import Callable
from typing import TypeVar

from control.admission.fair_use import FairUse
from control.api.http.request import Call
from control.model import limits

T = TypeVar("T")


async def parsed(call: Call, fair: FairUse, size: int, parse: Callable[[], T]) -> T:
    """Parse a document of this size; raises `Busy`, and what `parse` does.

    Half a second for a large file full of mistakes, all of it with the interpreter's lock.
    """
    if size <= limits.BODY_FREE_BYTES:
        return await fair.lanes.parsing(parse)
    async with fair.parsing.hold(call.key):
        return await fair.lanes.expensive_parsing(parse)
