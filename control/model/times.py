"""Owns how instants are written: integer UTC milliseconds inside, RFC 3339 outside."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$", re.ASCII
)


def to_rfc3339(at_ms: int) -> str:
    """Write an instant as `2026-11-22T09:30:00.000Z`."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{_written(seconds)}.{ms:03d}Z"


def to_rfc3339_or_none(at_ms: int | None) -> str | None:
    """Write an instant, if there is one."""
    return None if at_ms is None else to_rfc3339(at_ms)


@lru_cache(maxsize=1024)  # Most of what is written was a moment ago.
def _written(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def from_rfc3339(text: str) -> int:
    """Read an instant; raises ValueError with what would be right."""
    if not _RFC3339.match(text):
        msg = f"{text!r} is not an RFC 3339 time; write it like 2026-11-22T09:30:00Z"
        raise ValueError(msg)
    moment = datetime.fromisoformat(text.upper())
    return int((moment - _EPOCH) / timedelta(milliseconds=1))
