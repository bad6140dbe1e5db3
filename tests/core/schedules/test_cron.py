"""Decides that crons fire at the right instants, above all where the clocks jump."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.schedules.cron import (
    CRON_CHARS_MAX,
    check_schedule,
    last_nominal_time,
    newest_nominal_times,
    next_nominal_time,
    nominal_times,
)
from control.model.pipelines import Dst, ScheduleSpec
from control.model.states import Fold, Gap
from control.model.times import from_rfc3339, to_rfc3339

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS

# Where clocks jump: each zone with an instant near the jump.
JUMPS = [
    ("Europe/Paris", "2026-03-29T01:00:00Z"),
    ("Europe/Paris", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),  # By half an hour.
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),  # The 30th did not take place.
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),  # By a quarter of an hour.
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),  # Midnight is missing.
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),  # Summer is the standard time.
    ("Antarctica/Casey", "2020-03-07T16:00:00Z"),  # Back by three hours.
    ("UTC", "2026-03-29T01:00:00Z"),
]


def spec(cron: str, timezone: str = "UTC", **dst: str) -> ScheduleSpec:
    return ScheduleSpec(
        cron=cron,
        timezone=timezone,
        dst=Dst(gap=Gap(dst.get("gap", "next")), fold=Fold(dst.get("fold", "first"))),
    )


def times(schedule: ScheduleSpec, after: str, until: str) -> list[str]:
    found = nominal_times(
        schedule, after_ms=from_rfc3339(after), until_ms=from_rfc3339(until), limit=10_000
    )
    return [to_rfc3339(at_ms).removesuffix(":00.000Z") for at_ms in found]


@pytest.mark.parametrize(
    ("cron", "first"),
    [
        ("*/5 * * * *", "2026-07-31T23:00:00.000Z"),
        ("30 6 * * MON-FRI", "2026-08-03T06:30:00.000Z"),
        ("15 30 6 * * *", "2026-08-01T06:30:15.000Z"),
        ("*/20 * * * * *", "2026-07-31T22:57:40.000Z"),
        ("0 0 L * *", "2026-08-31T00:00:00.000Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00.000Z"),
        ("0 0 13 * FRI", "2026-08-07T00:00:00.000Z"),
        ("@hourly", "2026-07-31T23:00:00.000Z"),
        (" @Daily ", "2026-08-01T00:00:00.000Z"),
        ("@midnight", "2026-08-01T00:00:00.000Z"),
        ("@weekly", "2026-08-02T00:00:00.000Z"),
        ("@monthly", "2026-08-01T00:00:00.000Z"),
        ("@yearly", "2027-01-01T00:00:00.000Z"),
        ("@annually", "2027-01-01T00:00:00.000Z"),
    ],
)
def test_crons_of_every_form_fire(cron: str, first: str) -> None:
    assert check_schedule(cron, "UTC") == []
    found = next_nominal_time(spec(cron), from_rfc3339("2026-07-31T22:57:30Z"))
    assert found is not None
    assert to_rfc3339(found) == first


def days(cron: str, month: str = "2026-08") -> list[int]:
    """The days of a month on which it fires; the 1st of August 2026 is a Saturday."""
    found = times(spec(cron), f"{month}-01T00:00:00Z", f"{month}-31T00:00:00Z")
    first = times(spec(cron), "2026-07-31T23:59:59Z", "2026-08-01T00:00:00Z")
    return [int(at[8:10]) for at in (*first, *found)]


@pytest.mark.parametrize(
    ("cron", "found"),
    [
        ("0 0 10 * MON", [3, 10, 17, 24, 31]),  # Both are restricted: one is enough.
        ("0 0 11 * MON", [3, 10, 11, 17, 24, 31]),
        ("0 0 15W * MON", [3, 10, 14, 17, 24, 31]),
        ("0 0 1W * *", [3]),  # Not the last day of July.
        ("0 0 30W * *", [31]),
        ("0 0 1 * 5#2", [1, 14]),
        ("0 0 1 * L5", [1, 28]),
        ("0 0 L * L5", [28, 31]),
        ("0 0 1 * 6#1", [1]),
        ("0 0 1,2,3 * SUN#2,SAT#5", [1, 2, 3, 9, 29]),
        ("0 0 1-31 * MON", list(range(1, 32))),
        ("0 0 */3 * 7#4", []),  # One of them begins with `*`: both have to fit.
        ("0 0 */2 * 7#4", [23]),
        ("0 0 1-31/2 * 7#4", list(range(1, 32, 2))),
        ("0 0 */1 * MON", [3, 10, 17, 24, 31]),
        ("0 0 1 * */2", [1]),  # 0, 2, 4, and 6.
        ("0 0 2,4 * */2", [2, 4]),
        ("0 0 3 * */2", []),
        ("0 0 ? * 0", [2, 9, 16, 23, 30]),
        ("0 0 L * ?", [31]),
        ("0 0 * * 5#5,L5", [28]),
    ],
)
def test_the_two_fields_of_days_go_together_by_one_rule(cron: str, found: list[int]) -> None:
    assert check_schedule(cron, "UTC") == []
    assert days(cron) == found


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("61 * * * *", "the minute '61' is not valid; use 0-59"),
        ("* 24 * * *", "the hour '24' is not valid; use 0-23"),
        ("60 * * * * *", "the second '60'"),
        ("* * * FOO *", "the month 'FOO' is not valid; use 1-12 or JAN-DEC"),
        ("*/0 * * * *", "the minute '*/0'"),
        ("* * * *", "4 fields; write 5"),
        ("* * * * * * 2026", "or 6 with seconds first"),
        ("", "0 fields"),
        ("@reboot", "use one of @annually"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 0 31 4,6 *", "never fires"),
        ("0 0 30 2 */2", "never fires"),  # A day of the week that restricts nothing by itself.
        ("0 0 31W 4 *", "never fires"),
        ("H * * * *", "drawn by chance"),
        ("r(0-30)/5 * * * *", "drawn by chance"),
        ("0 9-9 * * *", "write '9'"),
        ("0 0 15W,16 * *", "the day of month '15W,16'"),
        ("0\u00a00 * * *", "not ASCII"),
        ("1," * CRON_CHARS_MAX + " * * * *", "too long"),
    ],
)
def test_bad_crons_are_refused_with_what_would_be_right(cron: str, words: str) -> None:
    [(field, message)] = check_schedule(cron, "UTC")
    assert field == "cron"
    assert words in message


@pytest.mark.parametrize(
    "timezone",
    [
        "",
        "America",
        "Europe/Atlantis",
        "../UTC",
        "/etc/passwd",
        "localtime",
        "right/UTC",
        "tzdata.zi",
        "a\0b",
        "x" * 5_000,
    ],
)
def test_zones_that_are_none_are_refused(timezone: str) -> None:
    [(field, message)] = check_schedule("@daily", timezone)
    assert field == "timezone"
    assert "Europe/Paris" in message
    assert len(message) < 300


def test_every_problem_is_found() -> None:
    assert len(check_schedule("61 25 * * *", "Nowhere")) == 3


@given(st.text(alphabet="0123456789*/-,?LWH#@ lwhrMONjan()", max_size=40), st.text(max_size=20))
def test_checking_never_fails_and_what_passes_fires(cron: str, timezone: str) -> None:
    check_schedule(cron, timezone)
    if not check_schedule(cron, "UTC"):
        assert next_nominal_time(spec(cron), from_rfc3339("2026-01-01T00:00:00Z")) is not None


def test_a_missing_time_fires_after_the_gap_or_not_at_all() -> None:
    window = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z")
    assert times(spec("30 2 * * *", "Europe/Paris"), *window) == ["2026-03-29T01:00"]
    assert times(spec("30 2 * * *", "Europe/Paris", gap="skip"), *window) == []


def test_all_missing_times_of_a_gap_are_one_and_the_regular_one_is_the_same() -> None:
    window = ("2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z")
    assert times(spec("*/15 2 * * *", "Europe/Paris"), *window) == ["2026-03-29T01:00"]
    assert times(spec("*/30 2,3 * * *", "Europe/Paris"), *window) == [
        "2026-03-29T01:00",
        "2026-03-29T01:30",
    ]


def test_a_skipped_day_is_a_gap() -> None:
    window = ("2011-12-30T00:00:00Z", "2011-12-30T20:00:00Z")
    assert times(spec("0 12 * * *", "Pacific/Apia"), *window) == ["2011-12-30T10:00"]
    assert times(spec("0 12 * * *", "Pacific/Apia", gap="skip"), *window) == []


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        ("first", ["00:30"]),
        ("second", ["01:30"]),
        ("both", ["00:30", "01:30"]),
    ],
)
def test_a_repeated_time_fires_as_told(fold: str, expected: list[str]) -> None:
    found = times(
        spec("30 2 * * *", "Europe/Paris", fold=fold),
        "2026-10-24T12:00:00Z",
        "2026-10-25T12:00:00Z",
    )
    assert [at[-5:] for at in found] == expected


@pytest.mark.parametrize("fold", list(Fold))
def test_a_rhythm_goes_on_through_a_fold(fold: str) -> None:
    schedule = spec("*/5 * * * *", "America/New_York", fold=fold)
    start_ms = from_rfc3339("2026-11-01T03:00:00Z")
    found = nominal_times(schedule, after_ms=start_ms, until_ms=start_ms + 6 * HOUR_MS, limit=999)
    assert found == [start_ms + 5 * MINUTE_MS * step for step in range(1, 73)]


def test_a_rhythm_does_not_fire_once_more_after_a_gap() -> None:
    found = times(
        spec("30 * * * *", "Europe/Paris"), "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"
    )
    assert found == ["2026-03-29T00:30", "2026-03-29T01:30"]


def test_the_last_time_of_a_long_outage_is_found_from_the_end() -> None:
    now_ms = from_rfc3339("2026-07-01T00:00:00Z")
    found = last_nominal_time(
        spec("* * * * * *", "Europe/Paris"), after_ms=now_ms - YEAR_MS, until_ms=now_ms + 1
    )
    assert found == now_ms


def test_a_schedule_that_only_names_missing_times_ends() -> None:
    never = spec("30 2 * 3 L0", "Europe/Paris", gap="skip")
    after_ms = from_rfc3339("2026-01-01T00:00:00Z")
    assert next_nominal_time(never, after_ms) is None
    assert last_nominal_time(never, after_ms=after_ms - 25 * YEAR_MS, until_ms=after_ms) is None


def test_a_cron_that_was_never_checked_and_never_fires_has_no_times() -> None:
    assert next_nominal_time(spec("0 0 30 2 *"), 0) is None


def test_the_end_of_the_calendar_is_not_an_error() -> None:
    yearly = spec("@yearly")
    end_ms = from_rfc3339("9999-12-31T23:59:59Z")
    assert nominal_times(yearly, after_ms=end_ms - DAY_MS, until_ms=end_ms, limit=5) == []
    assert next_nominal_time(yearly, end_ms) is None
    assert last_nominal_time(yearly, after_ms=0, until_ms=end_ms) is not None


@given(st.integers(0, 3 * 10**12), st.integers(-HOUR_MS, 30 * HOUR_MS))
def test_hourly_in_utc_is_arithmetic(after_ms: int, length_ms: int) -> None:
    until_ms = after_ms + length_ms
    first = after_ms // HOUR_MS + 1
    assert nominal_times(spec("0 * * * *"), after_ms=after_ms, until_ms=until_ms, limit=99) == list(
        range(first * HOUR_MS, until_ms + 1, HOUR_MS)
    )


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, int, int]:
    """A zone, and a window of at most 30 h near a jump of its clocks."""
    zone, jump = draw(st.sampled_from(JUMPS))
    after_ms = from_rfc3339(jump) + draw(st.integers(-30 * 60, 6 * 60)) * MINUTE_MS
    return zone, after_ms, after_ms + draw(st.integers(0, 30 * 60)) * MINUTE_MS


RULES = st.builds(Dst, gap=st.sampled_from(Gap), fold=st.sampled_from(Fold))
NUMBERS_OF_MINUTES = st.sets(st.integers(0, 59), min_size=1, max_size=6)
NUMBERS_OF_HOURS = st.one_of(
    st.just(set(range(24))),
    st.sets(st.integers(0, 23), min_size=1),
    st.sets(st.integers(0, 4), min_size=1),
)


def by_hand(  # The definition, minute by minute.
    schedule: ScheduleSpec, minutes: set[int], hours: set[int], after_ms: int, until_ms: int
) -> list[int]:
    zone = ZoneInfo(schedule.timezone)
    rhythm = len(hours) == 24
    found = []
    for at_ms in range((after_ms // MINUTE_MS + 1) * MINUTE_MS, until_ms + 1, MINUTE_MS):
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
        earlier = datetime.fromtimestamp(at_ms / 1000 - 60, UTC).astimezone(zone)
        twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        passes = {Fold.FIRST: {0}, Fold.SECOND: {1}, Fold.BOTH: {0, 1}}[schedule.dst.fold]
        fires = (
            local.minute in minutes
            and local.hour in hours
            and (rhythm or not twice or local.fold in passes)
        )
        if not rhythm and schedule.dst.gap is Gap.NEXT:
            missing = earlier.replace(tzinfo=None) + timedelta(minutes=1)
            while missing < local.replace(tzinfo=None):
                fires = fires or (missing.minute in minutes and missing.hour in hours)
                missing += timedelta(minutes=1)
        if fires:
            found.append(at_ms)
    return found


@given(
    windows(),
    NUMBERS_OF_MINUTES,
    NUMBERS_OF_HOURS,
    RULES,
    st.integers(0, 20),
)
def test_times_are_those_of_the_definition(
    window: tuple[str, int, int],
    minutes: set[int],
    hours: set[int],
    dst: Dst,
    limit: int,
) -> None:
    zone, after_ms, until_ms = window
    cron = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    schedule = ScheduleSpec(cron=cron, timezone=zone, dst=dst)
    expected = by_hand(schedule, minutes, hours, after_ms, until_ms)
    span = {"after_ms": after_ms, "until_ms": until_ms}
    assert nominal_times(schedule, **span, limit=10_000) == expected
    assert nominal_times(schedule, **span, limit=limit) == expected[:limit]
    assert newest_nominal_times(schedule, **span, limit=10_000) == expected
    assert last_nominal_time(schedule, **span) == (expected[-1] if expected else None)
    if expected:
        assert next_nominal_time(schedule, after_ms) == expected[0]


CRONS = [
    "*/7 * * * *",
    "*/13 1-3 * * *",
    "0 */2 * * *",
    "30 2 * * 0",
    "0 12 30,31 * *",
    "*/20 */30 1,2 * * *",
    "15 0 L * *",
    "@daily",
]


@given(windows(), st.sampled_from(CRONS), RULES, st.data())
def test_windows_compose(
    window: tuple[str, int, int], cron: str, dst: Dst, data: st.DataObject
) -> None:
    zone, after_ms, until_ms = window
    middle_ms = data.draw(st.integers(after_ms, until_ms))
    schedule = ScheduleSpec(cron=cron, timezone=zone, dst=dst)
    whole = nominal_times(schedule, after_ms=after_ms, until_ms=until_ms, limit=10_000)
    assert whole == sorted(set(whole))
    assert all(after_ms < at_ms <= until_ms for at_ms in whole)
    first = nominal_times(schedule, after_ms=after_ms, until_ms=middle_ms, limit=10_000)
    second = nominal_times(schedule, after_ms=middle_ms, until_ms=until_ms, limit=10_000)
    assert first + second == whole
    assert (
        newest_nominal_times(schedule, after_ms=after_ms, until_ms=until_ms, limit=10_000) == whole
    )
