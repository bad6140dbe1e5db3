"""Owns a naive schedule: docs/pipelines.md, "Schedules", as directly as it goes.

It shares no code with what it judges: it looks at each minute of a zone's clock, and keeps what it
knows in lists. Times are UTC milliseconds.
"""

import calendar
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from control.model.pipelines import ScheduleSpec
from control.model.states import Fold, Gap, Missed, Overlap

NAMES: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60 * _SECOND_MS
_DAY_MS: Final = 1_440 * _MINUTE_MS
_LATE_MS: Final = 60 * _SECOND_MS  # Later is missed.
_WAITING_MAX: Final = 1_000  # Of `overlap: queue`.


def fires(spec: ScheduleSpec, after_ms: int, until_ms: int) -> list[int]:
    """Its nominal times after `after_ms` up to and including `until_ms`."""
    fields = spec.cron.split()
    step_ms = _SECOND_MS if len(fields) == 6 else _MINUTE_MS
    second, *rest = fields if len(fields) == 6 else ["0", *fields]
    hours = _numbers(rest[1], 0, 23)
    rhythm = hours == set(range(24))
    zone = ZoneInfo(spec.timezone)

    def named(local: datetime) -> bool:
        return (
            local.second in _numbers(second, 0, 59)
            and local.minute in _numbers(rest[0], 0, 59)
            and local.hour in hours
            and _day_fits(rest[2], rest[3], rest[4], local.date())
        )

    found, step = [], timedelta(milliseconds=step_ms)
    for at_ms in _instants(rest, after_ms, until_ms, step_ms):
        local = _local(at_ms, zone)
        fits = named(local) and (rhythm or _in_pass(local, spec.dst.fold))
        if not rhythm and spec.dst.gap is Gap.NEXT and local.minute % 15 == 0:  # Where gaps end.
            missing = _naive(_local(at_ms - step_ms, zone)) + step
            while missing < _naive(local):
                fits = fits or named(missing)
                missing += step
        if fits:
            found.append(at_ms)
    return found


def _instants(fields: Sequence[str], after_ms: int, until_ms: int, step_ms: int) -> Iterator[int]:
    """Each step of the window, but for days that are far from all that fit."""
    at_ms = (after_ms // step_ms + 1) * step_ms
    while at_ms <= until_ms:
        day = datetime.fromtimestamp(at_ms // 1_000, UTC).date()
        near = (day + timedelta(days=more) for more in (-2, -1, 0, 1, 2))
        end_ms = (at_ms // _DAY_MS + 1) * _DAY_MS
        if any(_day_fits(fields[2], fields[3], fields[4], each) for each in near):
            yield from range(at_ms, min(end_ms, until_ms + 1), step_ms)
        at_ms = end_ms


@lru_cache(maxsize=10_000)
def _day_fits(days: str, months: str, weekdays: str, day: date) -> bool:
    if day.month not in _numbers(months, 1, 12):
        return False
    by_date = any(_date_fits(item, day) for item in days.split(","))
    by_week = any(_week_fits(item, day) for item in weekdays.split(","))
    restricted = [not field.startswith(("*", "?")) for field in (days, weekdays)]
    return by_date or by_week if all(restricted) else by_date and by_week


def _date_fits(item: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if item == "L":
        return day.day == last
    if item.endswith("W"):
        wanted = int(item[:-1])
        if wanted > last:
            return False
        working = [each for each in range(1, last + 1) if day.replace(day=each).weekday() < 5]
        # The nearest one. Of a Saturday that is the Friday, of a Sunday the Monday, if there is
        # one in the month.
        return day.day == min(working, key=lambda each: abs(each - wanted))
    return day.day in _numbers(item, 1, 31)


def _week_fits(item: str, day: date) -> bool:
    weekday = (day.weekday() + 1) % 7
    last = calendar.monthrange(day.year, day.month)[1]
    if "#" in item:
        name, nth = item.split("#")
        return weekday == _weekday(name) and (day.day - 1) // 7 + 1 == int(nth)
    if item.startswith("L"):
        return weekday == _weekday(item[1:]) and day.day + 7 > last
    if item in NAMES:
        return weekday == NAMES.index(item)
    return weekday in {value % 7 for value in _numbers(item, 0, 7 if "*" not in item else 6)}


def _weekday(text: str) -> int:
    return NAMES.index(text) if text in NAMES else int(text) % 7


@lru_cache(maxsize=10_000)
def _numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        if span in {"*", "?"}:
            begin, end = low, high
        else:
            first, _, second = span.partition("-")
            begin, end = int(first), int(second or first)
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def _in_pass(local: datetime, rule: Fold) -> bool:
    """Of a time that comes twice: whether this is a pass that counts."""
    if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
        return True
    return rule is Fold.BOTH or local.fold == (rule is Fold.SECOND)


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_ms // 1_000, zone)


def _naive(local: datetime) -> datetime:
    return local.replace(tzinfo=None, fold=0)


class Run(msgspec.Struct, kw_only=True):
    """A run as it should be. `kind`: planned, asked (by hand), or backfill."""

    kind: str
    nominal_ms: int | None
    open: bool = True
    replaced: bool = False


class Life:
    """What should have become of one schedule, told of all that happens to it.

    `offset_ms` is where inside its window a nominal time starts: any place is right.
    """

    def __init__(self, spec: ScheduleSpec, now_ms: int, offset_ms: Callable[[int], int]) -> None:
        self.spec = spec
        self.paused = False
        self.runs: list[Run] = []
        self.waiting: list[int] = []
        self.asked_for: list[int] = []  # By a backfill, and not started.
        self.now_ms = now_ms
        self._offset_ms = offset_ms
        self._planned_after_ms = now_ms  # Earlier times are none of this spec's.

    def passes(self, until_ms: int, *, up: bool = True) -> None:
        """The wall clock goes on. `up`: else nothing can start anything until its end."""
        begin_ms, self.now_ms = self.now_ms, until_ms
        if self.paused or not self.spec.enabled:
            self._planned_after_ms = until_ms
            return
        window_ms = int(self.spec.window * 1_000)
        first_ms = max(begin_ms - window_ms, self._planned_after_ms)
        due = sorted(
            (nominal_ms + self._offset_ms(nominal_ms), nominal_ms)
            for nominal_ms in fires(self.spec, first_ms, until_ms)
        )
        fresh = [each for each in due if begin_ms < each[0] <= until_ms and not self._has(each[1])]
        if not up:
            self._decide(until_ms, fresh, outage=True)
            return
        for at_ms in sorted({at_ms for at_ms, _ in fresh}):
            self._decide(at_ms, [each for each in fresh if each[0] == at_ms], outage=False)

    def clock_set(self, to_ms: int) -> None:
        """Somebody sets the clock. What it leaves out was missed; what it repeats comes once."""
        if to_ms > self.now_ms:
            self.passes(to_ms, up=False)
            return
        self.now_ms = to_ms
        self.waiting = [nominal_ms for nominal_ms in self.waiting if nominal_ms <= to_ms]
        self._planned_after_ms = min(self._planned_after_ms, to_ms)

    def edit(self, spec: ScheduleSpec) -> None:
        """Its pipeline's file says something else now."""
        self.spec = spec
        self._planned_after_ms = self.now_ms
        if not spec.enabled:
            self.waiting, self.asked_for = [], []
        self._decide(self.now_ms, [], outage=False)

    def pause(self, *, paused: bool) -> None:
        """By order."""
        if paused and not self.paused:
            self.waiting, self.asked_for = [], []
        self.paused = paused
        self._planned_after_ms = self.now_ms

    def start_by_hand(self) -> None:
        """A person starts a run."""
        self.runs.append(Run(kind="asked", nominal_ms=None))
        self._decide(self.now_ms, [], outage=False)

    def backfill(self, begin_ms: int, end_ms: int) -> None:
        """A person asks for the nominal times of a stretch that have no run."""
        for nominal_ms in fires(self.spec, begin_ms - 1, end_ms):
            if not self._has(nominal_ms) and nominal_ms not in self.waiting:
                self.asked_for.append(nominal_ms)
        self._decide(self.now_ms, [], outage=False)

    def ends(self, at: int) -> None:
        """A run ends."""
        self.runs[at].open = False
        self._decide(self.now_ms, [], outage=False)

    def open(self, *kinds: str) -> list[Run]:
        """The runs of these kinds that have not ended."""
        return [run for run in self.runs if run.open and run.kind in kinds]

    def _has(self, nominal_ms: int) -> bool:
        """It has run, or will because a person asked for it."""
        found = any(run.nominal_ms == nominal_ms for run in self.runs)
        return found or nominal_ms in self.asked_for

    def _decide(self, now_ms: int, fresh: Sequence[tuple[int, int]], *, outage: bool) -> None:
        kept = [each for each in fresh if not self._is_missed(each, now_ms, outage=outage)]
        if self.spec.missed is Missed.ALL:
            kept = list(fresh)
        elif self.spec.missed is Missed.LAST and fresh:
            newest = max(fresh, key=lambda each: each[1])
            kept = [each for each in fresh if each in kept or each == newest]
        old = [
            (nominal_ms + self._offset_ms(nominal_ms), nominal_ms) for nominal_ms in self.waiting
        ]
        self.waiting = []
        rows = [nominal_ms for _, nominal_ms in sorted([*old, *kept])]
        for at, nominal_ms in enumerate(rows):
            self._planned(nominal_ms, last=at == len(rows) - 1)
        del self.waiting[_WAITING_MAX:]
        asked_for, self.asked_for = sorted(self.asked_for), []
        for nominal_ms in asked_for:
            self._asked_for(nominal_ms)

    def _is_missed(self, row: tuple[int, int], now_ms: int, *, outage: bool) -> bool:
        due_ms, nominal_ms = row
        if not outage:
            return False
        following = fires(self.spec, nominal_ms, nominal_ms + 10 * _LATE_MS)
        period_ms = following[0] - nominal_ms if following else 10 * _LATE_MS
        return now_ms - due_ms > min(period_ms / 10, _LATE_MS)

    def _planned(self, nominal_ms: int, *, last: bool) -> None:
        rule = self.spec.overlap
        if rule is Overlap.REPLACE:
            if last:
                for run in self.open("planned"):
                    run.open, run.replaced = False, True
                self._start("planned", nominal_ms)
        elif rule is Overlap.ALLOW or not self.open("planned", "asked", "backfill"):
            if rule is Overlap.QUEUE and self.waiting:
                self.waiting.append(nominal_ms)
            else:
                self._start("planned", nominal_ms)
        elif rule is Overlap.QUEUE or (
            not self.open("planned", "asked") and not self.waiting
        ):  # Only a backfill is in the way, which takes nothing away.
            self.waiting.append(nominal_ms)

    def _asked_for(self, nominal_ms: int) -> None:
        rule = self.spec.overlap
        kinds = ("backfill",) if rule is Overlap.REPLACE else ("planned", "asked", "backfill")
        if rule is Overlap.ALLOW or not self.open(*kinds):
            self._start("backfill", nominal_ms)
        else:
            self.asked_for.append(nominal_ms)

    def _start(self, kind: str, nominal_ms: int) -> None:
        self.runs.append(Run(kind=kind, nominal_ms=nominal_ms))
