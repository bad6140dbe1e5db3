"""Decides which workers fail far more of what they are given than the others do."""

from collections.abc import Iterable
from typing import Final

import msgspec

from control.model.api.reports import WorkerStats

_ATTEMPTS_MIN: Final = 10  # Fewer have no meaning.
_PART_MIN: Final = 0.2
_TIMES: Final = 3  # As often as at all others together.


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """What part of its attempts failed at a worker, and at all others together."""

    part: float
    elsewhere: float


def failing(stats: Iterable[WorkerStats]) -> dict[str, Failing]:
    """The workers that are to be looked at, and why."""
    rows = list(stats)
    attempts, errors = sum(each.attempts for each in rows), sum(each.errors for each in rows)
    found: dict[str, Failing] = {}
    for each in rows:
        others = attempts - each.attempts
        elsewhere = (errors - each.errors) / others if others else 0.0
        part = each.errors / each.attempts if each.attempts else 0.0
        enough = min(each.attempts, others) >= _ATTEMPTS_MIN
        if enough and part >= _PART_MIN and part > _TIMES * elsewhere:
            found[each.worker] = Failing(part=part, elsewhere=elsewhere)
    return found
