"""Decides at which instants a schedule's cron fires, and what is wrong with one that cannot.

`cron_fields` finds local times; which instants a local time stands for is decided here.

Where the clocks jump forward, local times are missing (a gap). With `gap: skip` they do not fire;
with `gap: next` they fire at the first instant after the gap. All missing times of one gap become
that one instant, which fires once, even if the cron names it anyway. Where the clocks jump back,
local times come twice (a fold): `fold` says which of the two instants fires, or both.

A cron whose hour field allows every hour (`*/5 * * * *`, `@hourly`) speaks of a rhythm and not of
a time of day: as in cron(8), it follows the wall clock whatever `dst` says. It fires in both passes
of a fold, and not at the end of a gap, so that `*/5` stays five real minutes. cron(8) counts
`*/2` hours and `*/5 2 * * *` to this group as well; here they obey `dst`, for they name hours.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

from control.core.schedules.cron_fields import HOURS, NICKNAMES, read_fields
from control.model import limits
from control.model.pipelines import Dst, ScheduleSpec
from control.model.states import Fold, Gap

CRON_CHARS_MAX: Final = 256  # Every minute of the hour in a list takes 169.

_FIELDS: Final = (
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31 or L for the last"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 (0 and 7 are Sunday) or SUN-SAT"),
)
# croniter would draw a random number, or hash an id it is not given.
_DRAWN: Final = re.compile(r"(^|,)[hr](\(|/|,|$)", re.IGNORECASE)
# croniter takes `9-9` for the whole cycle, which nobody means.
_EQUAL_RANGE: Final = re.compile(r"(?:^|,)(\w+)-\1(?:/|,|$)", re.IGNORECASE)
# Depend on the host, or count leap seconds.
_UNSTABLE_ZONES: Final = re.compile(r"^(right/|posix|localtime$|Factory$)")

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are naive here.
_SECOND: Final = timedelta(seconds=1)
# Every cron that ever fires does so within these years.
_SOME_YEARS: Final = (datetime(2000, 1, 1), datetime(2050, 1, 1))  # noqa: DTZ001 - local times.
_FIRST_S: Final = 0
_LAST_S: Final = 250_000_000_000  # In the year 9892; datetime ends with 9999.
_NEXT_WITHIN_MS: Final = 50 * 366 * 86_400_000


def check_schedule(cron: str, timezone: str) -> list[tuple[str, str]]:
    """Every problem as (field, what is wrong and what would be right); empty when good."""
    problems = [("cron", message) for message in _cron_problems(cron)]
    if not _is_stable_zone(timezone):
        shown = timezone[: limits.NAME_CHARS_MAX]
        problems.append(
            ("timezone", f"there is no time zone {shown!r}; write an IANA name as 'Europe/Paris'")
        )
    return problems


def nominal_times(spec: ScheduleSpec, *, after_ms: int, until_ms: int, limit: int) -> list[int]:
    """The first `limit` times after `after_ms` up to and including `until_ms`, ascending."""
    return list(islice(_times(spec, after_ms, until_ms, forward=True), limit))


def newest_nominal_times(
    spec: ScheduleSpec, *, after_ms: int, until_ms: int, limit: int
) -> list[int]:
    """The last `limit` times after `after_ms` up to and including `until_ms`, ascending."""
    return list(islice(_times(spec, after_ms, until_ms, forward=False), limit))[::-1]


def last_nominal_time(spec: ScheduleSpec, *, after_ms: int, until_ms: int) -> int | None:
    """The last time after `after_ms` up to and including `until_ms`, found from the end."""
    return next(_times(spec, after_ms, until_ms, forward=False), None)


def next_nominal_time(spec: ScheduleSpec, after_ms: int) -> int | None:
    """The first time after `after_ms`; None when there is none within 50 years."""
    return next(_times(spec, after_ms, after_ms + _NEXT_WITHIN_MS, forward=True), None)


def times_a_day(spec: ScheduleSpec) -> int:
    """How many times it has on a day on which it fires, in local time."""
    fields = read_fields(spec.cron)
    return len(fields.hours) * len(fields.minutes) * len(fields.seconds)


def _cron_problems(cron: str) -> list[str]:
    if len(cron) > CRON_CHARS_MAX:
        return [f"{len(cron)} characters are too long; at most {CRON_CHARS_MAX} are allowed"]
    if not cron.isascii():
        return [f"{cron!r} has characters that are not ASCII; use spaces between the fields"]
    if cron.lstrip().startswith("@"):
        if cron.strip().lower() in NICKNAMES:
            return []
        return [f"{cron!r} is not known; use one of {', '.join(sorted(NICKNAMES))}"]
    fields = cron.split()
    if len(fields) not in {5, 6}:
        return [
            f"{cron!r} has {len(fields)} fields; write 5 (minute, hour, day of month, month,"
            " day of week), or 6 with seconds first"
        ]
    problems = [
        problem
        for field, (name, allowed) in zip(fields, _FIELDS[-len(fields) :], strict=True)
        if (problem := _field_problem(field, name, allowed))
    ]
    return problems or _whole_problem(cron)


def _field_problem(field: str, name: str, allowed: str) -> str | None:
    if _DRAWN.search(field):
        return f"the {name} {field!r} is drawn by chance; write a number, or use `window` to spread"
    if equal := _EQUAL_RANGE.search(field):
        return f"the {name} {field!r} is a range of one; write {equal[1]!r}"
    alone = " ".join(field if name == each else "*" for each, _ in _FIELDS)
    try:
        croniter(alone, _EPOCH, second_at_beginning=True)
    except ValueError:
        return f"the {name} {field!r} is not valid; use {allowed}, *, lists a,b or steps */n"
    return None


def _whole_problem(cron: str) -> list[str]:
    low, high = _SOME_YEARS
    if next(read_fields(cron).times(low, high, forward=True), None) is None:
        return [f"{cron!r} never fires, as no date fits its fields; name days that exist together"]
    return []


def _is_stable_zone(timezone: str) -> bool:
    if _UNSTABLE_ZONES.search(timezone):
        return False
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False  # Not found, not a name, or a folder such as `America`.
    return True


def _times(spec: ScheduleSpec, after_ms: int, until_ms: int, *, forward: bool) -> Iterator[int]:
    """Each time once, in UTC milliseconds; from the end backwards unless `forward`."""
    after_s = max(after_ms // 1000, _FIRST_S - 1)
    until_s = min(until_ms // 1000, _LAST_S)
    if after_s >= until_s:
        return
    # Times of one gap come out as the same instant, one behind the other.
    for instant_s, _ in groupby(_instants(spec, after_s, until_s, forward=forward)):
        if after_s < instant_s <= until_s:
            yield instant_s * 1000


def _instants(spec: ScheduleSpec, after_s: int, until_s: int, *, forward: bool) -> Iterator[int]:
    """In order; some may lie outside the window, by less than the length of a fold."""
    zone = ZoneInfo(spec.timezone)
    low, high = _local_before(after_s, zone), _local_until(until_s, zone)
    fields = read_fields(spec.cron)
    dst = None if tuple(fields.hours) == HOURS else spec.dst
    # With `fold: both`, the second pass comes after all local times of the first.
    other_pass: list[int] = []
    for local in fields.times(low, high, forward=forward):
        found = _instants_of(local, zone, dst)
        if not found:
            continue
        near, *far = found if forward else reversed(found)
        if other_pass and (near > other_pass[0]) == forward:
            yield from other_pass
            other_pass.clear()
        yield near
        other_pass += far
    yield from other_pass


def _instants_of(local: datetime, zone: ZoneInfo, dst: Dst | None) -> tuple[int, ...]:
    """The instants at which one local time fires, ascending; `dst` None follows the wall clock."""
    before, after = _offsets(local, zone)
    first_s = (local - before - _EPOCH) // _SECOND
    if before == after:
        return (first_s,)
    second_s = (local - after - _EPOCH) // _SECOND
    if before > after:
        if dst is None or dst.fold is Fold.BOTH:
            return (first_s, second_s)
        return (first_s,) if dst.fold is Fold.FIRST else (second_s,)
    if dst is None or dst.gap is Gap.SKIP:
        return ()
    return (_gap_end(second_s, first_s, zone),)


def _gap_end(low_s: int, high_s: int, zone: ZoneInfo) -> int:
    """The first instant with the new offset; `low_s` has the old one, `high_s` the new."""
    old = _local(low_s, zone).utcoffset()
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        if _local(middle_s, zone).utcoffset() == old:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s


def _offsets(local: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """The offsets before and after a jump of the clocks that touches `local`; else the same."""
    before, after = zone.utcoffset(local), zone.utcoffset(local.replace(fold=1))
    assert before is not None
    assert after is not None
    return before, after


def _local(at_s: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH.replace(tzinfo=UTC) + at_s * _SECOND).astimezone(zone)


def _local_before(after_s: int, zone: ZoneInfo) -> datetime:
    """A local time that is earlier than those of all instants after `after_s`."""
    local = _local(after_s, zone)
    naive = local.replace(tzinfo=None, fold=0)
    before, after = _offsets(naive, zone)
    # In the first pass of a fold: the second pass begins at an earlier local time.
    return naive - (before - after) if before > after and not local.fold else naive


def _local_until(until_s: int, zone: ZoneInfo) -> datetime:
    """A local time that is not earlier than those of all instants until `until_s`."""
    local = _local(until_s, zone)
    naive = local.replace(tzinfo=None, fold=0)
    before, after = _offsets(naive, zone)
    # In the second pass of a fold: the first pass ended at a later local time.
    return naive + (before - after) if before > after and local.fold else naive
