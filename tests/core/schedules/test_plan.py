"""Decides that schedules are planned without gaps or doubles, and that due runs obey the rules."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.schedules.cron import nominal_times
from control.core.schedules.plan import (
    WAITING_MAX,
    Decision,
    Plan,
    Replace,
    Skip,
    Start,
    Wait,
    decide_due,
    match_schedules,
    offset_ms,
    plan,
)
from control.model import limits
from control.model.numbers import RunId
from control.model.pipelines import ScheduleSpec
from control.model.state_rows import Active, PlannedRun
from control.model.states import Missed, Overlap

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW_MS = 1_795_340_123_456
AHEAD_MS = limits.PLAN_AHEAD_MS


def spec(
    cron: str = "* * * * *", *, missed: Missed = Missed.LAST, overlap: Overlap = Overlap.ALLOW
) -> ScheduleSpec:
    return ScheduleSpec(cron=cron, missed=missed, overlap=overlap)


def expected(schedule: ScheduleSpec, after_ms: int, until_ms: int) -> list[int]:
    return nominal_times(schedule, after_ms=after_ms, until_ms=until_ms, limit=1_000_000)


def plan_all(schedule: ScheduleSpec, planned_until_ms: int, now_ms: int) -> list[Plan]:
    """Every portion until nothing is left to plan."""
    plans: list[Plan] = []
    while not plans or plans[-1].rows:
        plans.append(next_plan(schedule, planned_until_ms, now_ms))
        planned_until_ms = plans[-1].planned_until_ms
    return plans


def next_plan(schedule: ScheduleSpec, planned_until_ms: int, now_ms: int = NOW_MS) -> Plan:
    return plan(7, schedule, planned_until_ms=planned_until_ms, now_ms=now_ms, ahead_ms=AHEAD_MS)


def nominals(plans: list[Plan]) -> list[int]:
    return [row.nominal_ms for each in plans for row in each.rows]


def test_the_offset_is_the_same_everywhere() -> None:
    assert offset_ms(1, NOW_MS, 0.0) == 0
    assert offset_ms(1, 1_795_340_100_000, 3600.0) == 685_200


@given(st.integers(1, 2**63 - 1), st.integers(0, 10**13), st.floats(0, limits.SECONDS_MAX))
def test_the_offset_lies_inside_the_window(
    schedule_id: int, nominal_ms: int, window_s: float
) -> None:
    offset = offset_ms(schedule_id, nominal_ms, window_s)
    assert 0 <= offset <= window_s * 1000
    assert offset < window_s * 1000 or offset == 0


def test_the_offsets_of_many_schedules_spread() -> None:
    quarters = [offset_ms(schedule_id, NOW_MS, 4.0) // 1000 for schedule_id in range(1000)]
    assert all(200 < quarters.count(quarter) < 300 for quarter in range(4))


def test_a_new_schedule_is_planned_for_two_days() -> None:
    [first, rest] = plan_all(spec("0 * * * *"), NOW_MS, NOW_MS)
    assert len(first.rows) == 48
    assert first.planned_until_ms == first.rows[-1].nominal_ms + HOUR_MS - 1
    assert rest == Plan(rows=(), planned_until_ms=first.planned_until_ms)


def test_a_window_moves_the_start_but_not_the_nominal_time() -> None:
    schedule = ScheduleSpec(cron="0 * * * *", window=600.0)
    rows = next_plan(schedule, NOW_MS).rows
    assert [row.nominal_ms for row in rows] == nominals(plan_all(spec("0 * * * *"), NOW_MS, NOW_MS))
    assert all(0 <= row.due_ms - row.nominal_ms < 600_000 for row in rows)
    assert len({row.due_ms - row.nominal_ms for row in rows}) > 40


def test_a_cron_of_seconds_is_planned_in_portions_and_less_far_ahead() -> None:
    schedule = spec("* * * * * *")
    first = next_plan(schedule, NOW_MS)
    assert len(first.rows) == limits.PLAN_ROWS_MAX
    assert first.planned_until_ms == first.rows[-1].nominal_ms
    second = next_plan(schedule, first.planned_until_ms)
    assert second.rows[0].nominal_ms == first.planned_until_ms + 1000
    rows = nominals(plan_all(schedule, NOW_MS, NOW_MS))
    assert rows == expected(schedule, NOW_MS, NOW_MS + limits.PLANNED_ROWS_MAX * 1000)


@pytest.mark.parametrize(
    ("cron", "reaches_ms"),
    [("0 0 29 2 *", limits.PLAN_SKIP_MS), ("0 */6 * * *", 6 * HOUR_MS), ("* * * * *", MINUTE_MS)],
)
def test_a_plan_reaches_to_its_next_time_but_not_beyond_a_day(cron: str, reaches_ms: int) -> None:
    until_ms = plan_all(spec(cron), NOW_MS, NOW_MS)[-1].planned_until_ms
    assert 0 <= until_ms - (NOW_MS + AHEAD_MS) <= reaches_ms
    later = plan_all(spec(cron), until_ms, NOW_MS + 30 * DAY_MS)
    assert nominals(plan_all(spec(cron), NOW_MS, NOW_MS)) + [
        at_ms for at_ms in nominals(later) if at_ms > NOW_MS + 30 * DAY_MS
    ] == [
        at_ms
        for at_ms in expected(spec(cron), NOW_MS, NOW_MS + 30 * DAY_MS + AHEAD_MS)
        if not until_ms < at_ms <= NOW_MS + 30 * DAY_MS
    ]


@pytest.mark.parametrize(
    ("missed", "made_up"),
    [(Missed.NONE, 0), (Missed.LAST, 1), (Missed.ALL, limits.MISSED_ALL_MAX)],
)
def test_after_a_long_outage_the_past_is_made_up_for_as_told(missed: Missed, made_up: int) -> None:
    found = nominals(plan_all(spec(missed=missed), NOW_MS - 365 * DAY_MS, NOW_MS))
    past = [at_ms for at_ms in found if at_ms <= NOW_MS]
    newest_ms = NOW_MS // MINUTE_MS * MINUTE_MS
    assert past == [newest_ms - MINUTE_MS * back for back in reversed(range(made_up))]
    assert found[made_up:] == expected(spec(), NOW_MS, NOW_MS + AHEAD_MS)


def test_a_schedule_switched_off_lets_time_pass() -> None:
    schedule = ScheduleSpec(cron="* * * * *", enabled=False)
    found = next_plan(schedule, NOW_MS - DAY_MS)
    assert found.rows == ()
    assert found.planned_until_ms >= NOW_MS + AHEAD_MS


def test_a_clock_set_back_plans_nothing_twice() -> None:
    ahead_ms = NOW_MS + AHEAD_MS
    found = next_plan(spec(), ahead_ms, NOW_MS - DAY_MS)
    assert found.rows == ()
    assert found.planned_until_ms >= ahead_ms


@given(
    st.sampled_from(["*/10 * * * *", "*/6 * 3 * * 1,2", "30 2 * * *", "0 0 1 * *"]),
    st.lists(st.integers(0, 3 * HOUR_MS), max_size=3),
)
def test_planning_again_and_again_misses_and_doubles_nothing(cron: str, steps: list[int]) -> None:
    schedule, now_ms, planned_until_ms = spec(cron), NOW_MS, NOW_MS
    found: list[int] = []
    for step in [0, *steps]:
        now_ms += step
        plans = plan_all(schedule, planned_until_ms, now_ms)
        found += nominals(plans)
        planned_until_ms = plans[-1].planned_until_ms
    assert found == expected(schedule, NOW_MS, now_ms + AHEAD_MS)


def due(*ages_ms: int, waiting: bool = False) -> list[PlannedRun]:
    """Rows due so long ago."""
    return [
        PlannedRun(nominal_ms=NOW_MS - age, due_ms=NOW_MS - age, waiting=waiting) for age in ages_ms
    ]


def decide(
    schedule: ScheduleSpec,
    rows: list[PlannedRun],
    active: int = 0,
    *,
    asked: int = 0,
    backfill: int = 0,
    began: int = 0,
) -> list[Decision]:
    """`began`: the outage ended so long ago."""
    runs = Active(
        planned=tuple(map(RunId, range(active))),
        asked=tuple(map(RunId, range(asked))),
        backfill=tuple(map(RunId, range(backfill))),
    )
    return decide_due(schedule, rows, now_ms=NOW_MS, since_ms=NOW_MS - began, active=runs)


def told(decisions: list[Decision]) -> str:
    return " ".join(f"{type(each).__name__}-{NOW_MS - each.nominal_ms}" for each in decisions)


@pytest.mark.parametrize(
    ("missed", "words"),
    [
        (Missed.NONE, "Skip-90000 Skip-80000 Start-60000 Start-0"),
        (Missed.LAST, "Skip-90000 Skip-80000 Start-60000 Start-0"),
        (Missed.ALL, "Start-90000 Start-80000 Start-60000 Start-0"),
    ],
)
def test_what_is_late_was_missed_after_a_minute(missed: Missed, words: str) -> None:
    rows = due(0, 80_000, 60_000, 90_000)
    assert told(decide(spec(missed=missed), rows, began=10 * HOUR_MS)) == words


def test_the_last_one_of_an_outage_runs() -> None:
    assert told(decide(spec(), due(80_000, 90_000))) == "Skip-90000 Start-80000"


@pytest.mark.parametrize(
    ("cron", "grace_ms"),
    [("*/5 * * * * *", 500), ("* * * * *", 6_000), ("*/10 * * * *", 60_000), ("@daily", 60_000)],
)
def test_nearly_seen_in_time_is_a_tenth_of_the_period(cron: str, grace_ms: int) -> None:
    (nominal_ms,) = nominal_times(
        spec(cron), after_ms=NOW_MS, until_ms=NOW_MS + 2 * DAY_MS, limit=1
    )
    row = PlannedRun(nominal_ms=nominal_ms, due_ms=nominal_ms)
    for late_ms, decision in ((grace_ms, Start), (grace_ms + 1, Skip)):
        since_ms = nominal_ms + late_ms
        for now_ms in (since_ms, nominal_ms + 60_000):  # It does not matter how long it takes us.
            (found,) = decide_due(
                spec(cron, missed=Missed.NONE),
                [row],
                now_ms=now_ms,
                since_ms=since_ms,
                active=Active(),
            )
            assert isinstance(found, decision)


@pytest.mark.parametrize("seconds", [2, 30, 48])
@pytest.mark.parametrize(("missed", "count"), [(Missed.NONE, 0), (Missed.LAST, 1)])
def test_a_short_outage_is_one_too(missed: Missed, count: int, seconds: int) -> None:
    rows = due(*range(1_000, seconds * 1_000, 5_000))
    found = decide(spec("*/5 * * * * *", missed=missed), rows)
    assert sum(isinstance(each, Start) for each in found) == count


@pytest.mark.parametrize(
    ("overlap", "active", "words"),
    [
        (Overlap.ALLOW, 2, "Start-2 Start-1 Start-0"),
        (Overlap.SKIP, 0, "Start-2 Skip-1 Skip-0"),
        (Overlap.SKIP, 1, "Skip-2 Skip-1 Skip-0"),
        (Overlap.QUEUE, 0, "Start-2 Wait-1 Wait-0"),
        (Overlap.QUEUE, 1, "Wait-2 Wait-1 Wait-0"),
        (Overlap.REPLACE, 0, "Skip-2 Skip-1 Start-0"),
        (Overlap.REPLACE, 2, "Skip-2 Skip-1 Replace-0"),
    ],
)
def test_overlapping_runs_do_as_told(overlap: Overlap, active: int, words: str) -> None:
    assert told(decide(spec(overlap=overlap), due(2, 1, 0), active, began=9)) == words


@pytest.mark.parametrize(
    ("overlap", "kind", "words"),
    [
        (Overlap.SKIP, "asked", "Skip-1 Skip-0"),
        (Overlap.QUEUE, "asked", "Wait-1 Wait-0"),
        (Overlap.REPLACE, "asked", "Skip-1 Start-0"),  # What a person started stays.
        (Overlap.SKIP, "backfill", "Wait-1 Skip-0"),
        (Overlap.QUEUE, "backfill", "Wait-1 Wait-0"),
        (Overlap.REPLACE, "backfill", "Skip-1 Start-0"),
    ],
)
def test_planned_runs_and_those_of_a_person(overlap: Overlap, kind: str, words: str) -> None:
    counts = {kind: 1}
    assert told(decide(spec(overlap=overlap), due(1, 0), began=9, **counts)) == words


@pytest.mark.parametrize(
    ("overlap", "counts", "words"),
    [
        (Overlap.ALLOW, {"active": 1, "backfill": 1}, "Start-9 Start-8"),
        (Overlap.SKIP, {}, "Start-9 Wait-8"),
        (Overlap.QUEUE, {}, "Start-9 Wait-8"),
        (Overlap.REPLACE, {}, "Start-9 Wait-8"),
        (Overlap.SKIP, {"active": 1}, "Wait-9 Wait-8"),
        (Overlap.QUEUE, {"asked": 1}, "Wait-9 Wait-8"),
        (Overlap.REPLACE, {"active": 1, "asked": 1}, "Start-9 Wait-8"),
        (Overlap.SKIP, {"backfill": 1}, "Wait-9 Wait-8"),
        (Overlap.REPLACE, {"backfill": 1}, "Wait-9 Wait-8"),
    ],
)
def test_a_backfill_goes_on_one_by_one(
    overlap: Overlap, counts: dict[str, int], words: str
) -> None:
    rows = [msgspec.structs.replace(row, backfill=True) for row in due(9, 8)]
    assert told(decide(spec(overlap=overlap), rows, **counts)) == words


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE])
def test_what_is_planned_goes_before_a_backfill(overlap: Overlap) -> None:
    rows = [msgspec.structs.replace(row, backfill=True) for row in due(9)] + due(0)
    assert told(decide(spec(overlap=overlap), rows)) == "Wait-9 Start-0"


def test_a_row_that_grew_old_in_the_queue_was_not_missed() -> None:
    schedule = spec(missed=Missed.NONE, overlap=Overlap.QUEUE)
    queued = due(HOUR_MS, HOUR_MS // 2, waiting=True)
    assert told(decide(schedule, queued + due(0))) == f"Start-{HOUR_MS} Wait-{HOUR_MS // 2} Wait-0"


def test_a_run_on_time_makes_up_for_those_that_were_missed() -> None:
    schedule = spec(missed=Missed.LAST, overlap=Overlap.SKIP)
    assert told(decide(schedule, due(0, HOUR_MS, 2 * HOUR_MS))) == (
        f"Skip-{2 * HOUR_MS} Skip-{HOUR_MS} Start-0"
    )


def test_a_queue_is_bounded() -> None:
    rows = due(*range(WAITING_MAX + 1, -1, -1))
    decisions = decide(spec(overlap=Overlap.QUEUE), rows, began=HOUR_MS)
    assert sum(isinstance(each, Wait) for each in decisions) == WAITING_MAX
    assert told(decisions[-2:]) == "Wait-1 Skip-0"


def test_rows_start_in_the_order_they_are_due() -> None:
    rows = [PlannedRun(nominal_ms=1, due_ms=NOW_MS), PlannedRun(nominal_ms=2, due_ms=NOW_MS - 5)]
    assert decide(spec(), rows, began=9) == [Start(nominal_ms=2), Start(nominal_ms=1)]


def test_reasons_are_words_that_name_the_rule() -> None:
    [missed, _] = decide(spec(), due(2 * HOUR_MS, HOUR_MS))
    assert missed == Skip(
        nominal_ms=NOW_MS - 2 * HOUR_MS,
        reason="nothing could start it when it was due; the run of 2026-11-22T08:35:23.456Z makes"
        " up for it (missed: last)",
    )


@given(
    st.sampled_from(Missed),
    st.sampled_from(Overlap),
    st.sets(st.integers(0, 3 * MINUTE_MS), max_size=12),
    st.booleans(),
    st.integers(0, 2),
)
def test_every_row_gets_one_decision_and_no_rule_is_broken(
    missed: Missed, overlap: Overlap, ages: set[int], waiting: bool, active: int
) -> None:
    rows = due(*ages, waiting=waiting)
    decisions = decide(spec(missed=missed, overlap=overlap), rows, active)
    assert [each.nominal_ms for each in decisions] == sorted(row.nominal_ms for row in rows)
    starts = sum(isinstance(each, Start) for each in decisions)
    replaces = sum(isinstance(each, Replace) for each in decisions)
    if overlap is not Overlap.ALLOW:
        assert active * starts == 0
        assert starts + replaces <= 1
    if overlap is not Overlap.QUEUE:
        assert not any(isinstance(each, Wait) for each in decisions)
    if missed is Missed.ALL and overlap is Overlap.ALLOW:
        assert starts == len(rows)
    if 0 in ages and overlap is Overlap.REPLACE:
        assert decisions[-1].nominal_ms == max(row.nominal_ms for row in rows)
        assert isinstance(decisions[-1], Replace if active else Start)


def test_a_schedule_that_is_edited_is_the_same_one() -> None:
    hourly, daily = spec("0 * * * *"), spec("0 0 * * *")
    paris = ScheduleSpec(cron="0 0 * * *", timezone="Europe/Paris")
    assert match_schedules([hourly, daily], [daily, hourly]) == [1, 0]
    assert match_schedules([hourly, daily], [paris]) == [1]
    assert match_schedules([hourly], [daily]) == [0]
    assert match_schedules([hourly], [hourly, hourly, daily]) == [0, None, None]
    assert match_schedules([hourly, daily], [spec("5 * * * *"), daily]) == [0, 1]
    assert match_schedules([], [daily]) == [None]
    assert match_schedules([daily], []) == []
