"""Decides how planned runs are drawn, and what is said of one schedule."""

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from control.model.pipelines import ScheduleSpec
from control.model.states import Overlap, State
from tests.tui.hostile import drawn
from tests.tui.samples import HOUR, NOW, a_forecast, a_plan, a_run, a_schedule, at
from tui.panes.schedule import schedule_detail
from tui.panes.timeline import axis, fires, needed

HALF: Final = HOUR // 2


def hourly(number: int) -> list[float]:
    """So many hours, in seconds."""
    return [hour * 3600.0 for hour in range(number)]


def drawn_fires(every: list[float], columns: int = 12, **given: Any) -> str:  # noqa: ANN401
    plans = [a_plan(after) for after in every]
    return drawn([fires(a_schedule(**given), plans, NOW, HALF, columns)])[0]


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (Overlap.SKIP, "██▓×██▓×██▓×"),
        (Overlap.ALLOW, "██▓█▓█▓█▓█▓█"),
        (Overlap.REPLACE, "██▓█▓█▓█▓█▓█"),
        (Overlap.QUEUE, "██▓█▓█▓▓▓▓▓▓"),
    ],
)
def test_runs_that_reach_into_the_next(overlap: Overlap, expected: str) -> None:
    spec = ScheduleSpec(cron="0 * * * *", overlap=overlap)
    assert drawn_fires(hourly(8), expected_seconds=4260.0, spec=spec) == expected


def test_other_signs() -> None:
    assert drawn_fires(hourly(3), expected_seconds=2.0) == "│ │ │"
    assert drawn_fires(hourly(3), expected_seconds=None) == "│ │ │"
    assert drawn_fires(hourly(3), expected_seconds=1800.0) == "█ █ █"
    assert drawn_fires(hourly(2), expected_seconds=3700.0, columns=6) == "██▓██"
    windowed = ScheduleSpec(cron="0 * * * *", window=600.0)
    assert drawn_fires(hourly(3), expected_seconds=2.0, spec=windowed) == "┆ ┆ ┆"
    assert drawn_fires(hourly(3), paused=True) == "· · ·"
    minutes = [60.0 * minute for minute in range(60)]
    assert drawn_fires(minutes, expected_seconds=1.0) == "≡≡"
    assert drawn_fires([*minutes, 9000.0], expected_seconds=3600.0) == "≡≡█  ██"


def test_axis() -> None:
    start_ms = NOW // HOUR * HOUR  # Thursday, 12:00.
    hours, days = drawn(axis(start_ms, HALF, 40, UTC, now_ms=NOW))
    assert hours == "12──14──16──18──20──22──00──02──04──06──"
    assert days == " ▲                      ┊ Fri 16 Oct"
    hours, days = drawn(axis(start_ms, HALF, 40, ZoneInfo("Asia/Kolkata"), now_ms=0))
    assert hours == "─18──20──22──00──02──04──06──08──10──12─"
    assert days.strip() == "┊ Fri 16 Oct"


def test_the_clock_goes_back() -> None:
    start_ms = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp()) * 1000
    hours, _ = drawn(axis(start_ms, HALF, 16, ZoneInfo("Europe/Paris"), now_ms=0))
    assert hours == "00──02────04──06"


def test_needed() -> None:
    assert drawn([needed(a_forecast(0, 96, 192, 193), NOW, HALF, 6)]) == ["▁▅█▓"]
    assert drawn([needed(a_forecast(0, 96), NOW, HALF // 2, 6)]) == ["▁▁▅▅"]
    assert drawn([needed(a_forecast(0, 96, 10, 192), NOW, HOUR, 6)]) == ["▅█"]
    assert drawn([needed(a_forecast(), NOW, HOUR, 6)]) == [""]


def test_detail_of_a_schedule() -> None:
    to_winter = datetime(2026, 10, 25, 3, tzinfo=UTC).timestamp() - NOW / 1000
    plans = [a_plan(to_winter - 2 * 86_400), a_plan(to_winter), a_plan(9, schedule_id=8)]
    runs = [
        a_run(
            id=each,
            schedule_id=7,
            state=State.ERROR if each == 6 else State.DONE,
            started_at=at(-9000),
            finished_at=at(-6000 + each * 60),
            scheduled_for=at(-252.004),
        )
        for each in range(16)
    ]
    told = drawn(
        schedule_detail(a_schedule(), plans, runs, a_forecast(*[200] * 400), 118, now_ms=NOW)
    )
    assert told[0].startswith(" cron 0 4 * * *  Europe/Paris   expected 1h02m   overlap allow")
    assert told[3] == (
        " Fri 23 Oct 03:00:00Z   Fri 23 Oct 05:00 CEST   7d14h    04:02Z         200 of 192 ▲"
    )
    assert told[4].endswith("clocks go back before it")
    assert "Sun 25 Oct 04:00 CET " in told[4]
    assert told[6] == (
        " last 14  ✓✓✓✓✗✓✓✓✓✓✓✓✓✓   took ▁▂▂▃▃▄▄▅▅▆▆▇▇█   shortest 52m00s  longest 1h05m"
        "   began at most 4ms late"
    )


def test_a_schedule_that_plans_nothing() -> None:
    idle = a_schedule(paused=True, expected_seconds=None)
    told = drawn(schedule_detail(idle, [], [], None, 118, now_ms=NOW))
    assert told[0].startswith(" ‖ paused")
    assert told[2] == " paused: it starts nothing by itself"
    assert told[4] == " no run of it is known here"


def test_notes_of_planned_runs() -> None:
    plans = [
        a_plan(60, waiting=True),
        a_plan(120, backfill=True, due=at(150)),
        a_plan(180, expected_seconds=86_400.0),
    ]
    told = drawn(schedule_detail(a_schedule(), plans, [], None, 140, now_ms=NOW))
    assert told[3].endswith("an earlier run has to end first")
    assert told[4].endswith("asked for later  30.0s after its nominal time")
    assert "Fri 16 12:44Z" in told[5]
