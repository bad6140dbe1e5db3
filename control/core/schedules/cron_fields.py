"""Decides which local times a cron names. croniter reads its fields; the days are found here.

A date fits when its month, its day of the month, and its day of the week fit. Where both fields of
days are restricted, one of them is enough. A field that begins with `*` (or is `?`) counts as not
restricted, as in cron(8), so `0 0 */2 * MON` is each Monday that is an odd day, and
`0 0 1-31/2 * MON` each odd day and each Monday. `L`, `15W`, `5#2`, and `L5` are restrictions as any
other.
"""

from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
from croniter import croniter

NICKNAMES: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
HOURS: Final = tuple(range(24))

_ANY_DAY: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - local times are naive here.
_UNRESTRICTED: Final = ("*", "?")
_SATURDAY: Final = 5  # As datetime counts; cron's 0 and 7 are Sunday.
_SUNDAY: Final = 6
_LAST: Final = "l"  # As croniter says it.


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What the fields of a cron allow; None: all of them. Days of the week: 0 is Monday."""

    seconds: Sequence[int]
    minutes: Sequence[int]
    hours: Sequence[int]
    months: Sequence[int]
    month_days: frozenset[int] | None
    last_month_day: bool
    nearest_weekdays: frozenset[int]  # `15W`: Monday to Friday, the nearest to the 15th.
    weekdays: frozenset[int] | None
    nth_weekdays: frozenset[tuple[int, int]]  # (weekday, n); n 0: the last one of the month.
    either_day: bool  # Both fields of days are restricted.

    def days(self, year: int, month: int) -> list[int]:
        """The days of this month that fit, ascending."""
        first, length = monthrange(year, month)
        every = set(range(1, length + 1))
        by_date = every if self.month_days is None else self._by_date(first, length) & every
        by_week = every if self.weekdays is None else self._by_week(first, length) & every
        return sorted(by_date | by_week if self.either_day else by_date & by_week)

    def times(self, low: datetime, high: datetime, *, forward: bool) -> Iterator[datetime]:
        """The local times after `low` up to `high`, in order; from the end unless `forward`."""
        way: Callable[[Sequence[int]], Sequence[int]] = _same if forward else _reversed
        hours, minutes, seconds = way(self.hours), way(self.minutes), way(self.seconds)
        for year, month in _months(low, high, forward=forward):
            if month not in self.months:
                continue
            for day in way(self.days(year, month)):
                if not low.date() <= datetime(year, month, day).date() <= high.date():  # noqa: DTZ001
                    continue
                for hour in hours:
                    begin = datetime(year, month, day, hour)  # noqa: DTZ001 - local, naive.
                    if begin > high or begin.replace(minute=59, second=59) <= low:
                        continue
                    for minute in minutes:
                        begin = begin.replace(minute=minute)
                        if begin > high or begin.replace(second=59) <= low:
                            continue
                        for second in seconds:
                            at = begin.replace(second=second)
                            if low < at <= high:
                                yield at

    def _by_date(self, first: int, length: int) -> set[int]:
        found = set(self.month_days or ())
        if self.last_month_day:
            found.add(length)
        found.update(_nearest(day, first, length) for day in self.nearest_weekdays if day <= length)
        return found

    def _by_week(self, first: int, length: int) -> set[int]:
        found = {
            day
            for day in range(1, length + 1)
            if _weekday(day, first) in (self.weekdays or frozenset())
        }
        for weekday, nth in self.nth_weekdays:
            days = [day for day in range(1, length + 1) if _weekday(day, first) == weekday]
            found.update(days[nth - 1 : nth] if nth else days[-1:])
        return found


@lru_cache(maxsize=4_096)
def read_fields(cron: str) -> Fields:
    """Read a cron with valid fields; raises `ValueError` when one is not."""
    text = NICKNAMES.get(cron.strip().lower(), cron)
    fields = text.split()
    read = croniter(" ".join(fields), _ANY_DAY, second_at_beginning=True)
    minutes, hours, month_days, months, weekdays, *seconds = map(_values, read.expanded)
    nth = {
        (int(day), 0 if str(which) == _LAST else int(which))
        for day, all_of_it in read.nth_weekday_of_month.items()
        for which in all_of_it
    }
    plain = set(weekdays or ()) - {day for day, _ in nth}
    day_field, _, week_field = fields[-3:]
    nearest: frozenset[int] = frozenset(read.nearest_weekday)
    return Fields(
        seconds=(seconds[0] or tuple(range(60))) if seconds else (0,),
        minutes=minutes or tuple(range(60)),
        hours=hours or HOURS,
        months=months or tuple(range(1, 13)),
        month_days=None if month_days is None else frozenset(month_days) - nearest,
        last_month_day=_LAST in read.expanded[2],
        nearest_weekdays=nearest,
        weekdays=None
        if weekdays is None and not nth
        else frozenset((day - 1) % 7 for day in plain),
        nth_weekdays=frozenset(((day - 1) % 7, which) for day, which in nth),
        either_day=not any(field.startswith(_UNRESTRICTED) for field in (day_field, week_field)),
    )


def _values(expanded: Sequence[int | str]) -> tuple[int, ...] | None:
    """A field as croniter expanded it, without what is not a number; None: everything."""
    if list(expanded) == ["*"]:
        return None
    return tuple(sorted(value for value in expanded if isinstance(value, int)))


def _nearest(day: int, first: int, length: int) -> int:
    """The working day that is nearest to this one, in the same month."""
    weekday = _weekday(day, first)
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


def _weekday(day: int, first: int) -> int:
    return (first + day - 1) % 7


def _months(low: datetime, high: datetime, *, forward: bool) -> Iterator[tuple[int, int]]:
    begin, end = low.year * 12 + low.month - 1, high.year * 12 + high.month - 1
    for month in range(begin, end + 1) if forward else range(end, begin - 1, -1):
        yield month // 12, month % 12 + 1


def _same(values: Sequence[int]) -> Sequence[int]:
    return values


def _reversed(values: Sequence[int]) -> Sequence[int]:
    return values[::-1]
