"""Decides when shown things began and ended, and so for how long they have lasted."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from control.model.api.fleet import RunningView
from control.model.api.views import JobView, RunView
from control.model.times import from_rfc3339

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_S: Final = 1_000


@lru_cache(maxsize=65_536)
def instant(text: str | None) -> int | None:
    """An instant as the server writes it; None: there is none, or it cannot be read."""
    if text is None:
        return None
    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1_024)
def zone_of(name: str) -> tzinfo:
    """The zone of this IANA name; UTC for one that is not known here."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def moment(at_ms: int, zone: tzinfo = UTC) -> datetime | None:
    """An instant as a local time; None: it is outside the calendar."""
    try:
        return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
    except OverflowError:
        return None


def later(at_ms: int, seconds: float) -> int:
    """The instant so many seconds after that one."""
    return at_ms + round(seconds * _S)


def between(begin_ms: int | None, end_ms: int | None, now_ms: int) -> float | None:
    """Seconds from begin to end, or until now; None: it has not begun."""
    if begin_ms is None:
        return None
    return max((now_ms if end_ms is None else end_ms) - begin_ms, 0) / _S


def run_seconds(run: RunView, now_ms: int) -> float | None:
    """For how long a run has been executed; None: it has not begun."""
    return between(instant(run.started_at), instant(run.finished_at), now_ms)


def jobs_seconds(jobs: Sequence[JobView], now_ms: int) -> float | None:
    """From the first begin of several jobs to their last end, or until now; None: none has."""
    begun = [(instant(job.started_at), instant(job.finished_at)) for job in jobs if job.started_at]
    begins = [begin_ms for begin_ms, _ in begun if begin_ms is not None]
    ends = [now_ms if end_ms is None else end_ms for _, end_ms in begun]
    return between(min(begins), max(ends), now_ms) if begins else None


def running_seconds(running: RunningView, now_ms: int) -> float | None:
    """For how long a job has been executed by its worker; None: it waits there."""
    return between(instant(running.started_at), None, now_ms)
