"""Decides how planned runs are drawn, and what is said of one schedule."""

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from control.model.api.schedules import PlannedStretch
from control.model.pipelines import ScheduleSpec
from control.model.states import Overlap, State
from tests.tui.hostile import drawn
from tests.tui.samples import HOUR, NOW, a_forecast, a_plan, a_plan_of, a_run, a_schedule, at
from tui.core.due import to_come
from tui.panes.schedule import schedule_detail
from tui.panes.timeline import axis, fires, needed

HALF: Final = HOUR // 2


def hourly(number: int) -> list[float]:
    """So many hours, in seconds."""
    return [hour * 3600.0 for hour in range(number)]


def drawn_fires(every: list[float], columns: int = 12, **given: Any) -> str:  # noqa: ANN401
    plan = a_plan_of(*map(a_plan, every))
    return drawn([fires(a_schedule(**given), plan, NOW, HALF, columns)])[0]


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
    plan = a_plan_of(a_plan(to_winter - 2 * 86_400), a_plan(to_winter))
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
        schedule_detail(a_schedule(), plan, runs, a_forecast(*[200] * 400), 118, now_ms=NOW)
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
    told = drawn(schedule_detail(idle, None, [], None, 118, now_ms=NOW))
    assert told[0].startswith(" ‖ paused")
    assert told[2] == " paused: it starts nothing by itself"
    assert told[4] == " no run of it is known here"


def test_notes_of_planned_runs() -> None:
    plan = a_plan_of(
        a_plan(60, waiting=True),
        a_plan(120, backfill=True, due=at(150)),
        a_plan(180, expected_seconds=86_400.0),
    )
    told = drawn(schedule_detail(a_schedule(), plan, [], None, 140, now_ms=NOW))
    assert told[3].endswith("an earlier run has to end first")
    assert told[4].endswith("asked for later  30.0s after its nominal time")
    assert "Fri 16 12:44Z" in told[5]


def test_several_runs_in_a_stretch_are_many() -> None:
    stretches = [PlannedStretch(at=at(1800 * n), runs=30) for n in range(4)]
    plan = a_plan_of(stretches=stretches, runs=120)
    assert drawn([fires(a_schedule(expected_seconds=1.0), plan, NOW, HALF, 6)]) == ["≡≡≡≡"]
    assert drawn([fires(a_schedule(expected_seconds=1.0), None, NOW, HALF, 6)]) == [""]


def test_what_is_not_planned_yet_is_said() -> None:
    plan = a_plan_of(*map(a_plan, hourly(2)), until=at(5400))
    assert drawn([fires(a_schedule(expected_seconds=2.0), plan, NOW, HALF, 8)]) == ["│ │  ┄┄┄"]
    paused = a_schedule(paused=True)
    assert drawn([fires(paused, plan, NOW, HALF, 8)]) == ["· ·"]


def test_what_came_due_since_the_answer_is_not_late() -> None:
    """As far as anyone knows it has started; only what the server said was not is late."""
    plan = a_plan_of(*map(a_plan, (-20, -6, -1, 4, 30)))
    assert [(each.due_ms - NOW, each.late) for each in to_come(plan, NOW)] == [
        (-20_000, True),
        (-6_000, True),
        (4_000, False),
        (30_000, False),
    ]
    later = to_come(plan, NOW + 10_000)
    assert [each.due_ms - NOW for each in later] == [-20_000, -6_000, 30_000]
    assert [each.due_ms - NOW for each in to_come(plan, NOW + 90_000)] == []
    waits = a_plan_of(a_plan(-1, waiting=True))
    assert [each.late for each in to_come(waits, NOW)] == [True]
