"""Decides that no picture is wider than its box or holds a command, whatever the server sends."""

from datetime import UTC

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.model.api.fleet import PartitionView, RunningView, WorkerView
from control.model.api.forecast import Forecast
from control.model.api.live import Counts, Pulse
from control.model.api.queues import Queues
from control.model.api.reports import (
    Summary,
    TaskDetail,
    TaskStats,
    WorkerAttempt,
)
from control.model.api.schedules import SchedulePlan, ScheduleView
from control.model.api.views import JobView, RunView
from tests.tui import hostile_shapes as shapes
from tests.tui.hostile import check, heights, seconds, widths
from tests.tui.samples import NOW
from tui.core.alerts import attention
from tui.core.critical_path import critical_path
from tui.core.failing import Failing
from tui.core.spans import line
from tui.core.state_symbols import done_of, stage_signs
from tui.core.timestamps import zone_of
from tui.panes.gantt import gantt
from tui.panes.histogram import costs, histogram
from tui.panes.lanes import lane_detail, lanes
from tui.panes.schedule import schedule_detail
from tui.panes.slots import slot_history
from tui.panes.stages import stage_columns
from tui.panes.tiles import errors, oldest, throughput, waiting
from tui.panes.timeline import axis, fires, needed

SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SLOW
@given(
    happened=shapes.several(shapes.pulses, 100),
    now=st.none() | shapes.totals,
    waits=st.none() | shapes.queues,
    summary=st.none() | shapes.summaries,
    slow=shapes.several(shapes.tasks, 3),
    width=widths,
)
def test_tiles(
    *,
    happened: list[Pulse],
    now: Counts | None,
    waits: Queues | None,
    summary: Summary | None,
    slow: list[TaskStats],
    width: int,
) -> None:
    check(throughput(happened, width), width, 4)
    check(waiting(now, waits, happened, width), width, 4)
    check(oldest(waits, summary, width), width, 4)
    check(errors(happened, slow, width), width, 4)


@SLOW
@given(
    shapes.several(shapes.partitions),
    st.none() | shapes.queues,
    shapes.several(shapes.running),
    widths,
)
def test_lanes(
    parts: list[PartitionView], waits: Queues | None, jobs: list[RunningView], width: int
) -> None:
    check(lanes(parts, waits, width), width)
    for each in parts:
        check(lane_detail(each, jobs, width, NOW), width)


@SLOW
@given(shapes.runs_with_jobs(), widths, heights, st.none() | st.integers(1, 40))
def test_runs(given_: tuple[RunView, list[JobView]], width: int, height: int, on: int) -> None:
    run, jobs = given_
    check(gantt(run, jobs, width, height, now_ms=NOW, selected=on), width, height)
    columns = stage_columns(run, jobs, width, height, selected_job=on, now_ms=NOW)
    check(columns, width, height)
    path = critical_path(jobs, [stage.name for stage in run.stages])
    assert set(path) <= {job.id for job in jobs}
    ended, every = done_of(run)
    assert 0 <= ended <= every
    check([stage_signs(run)], len(run.stages))


@SLOW
@given(
    shapes.schedules,
    st.none() | shapes.plans,
    st.none() | shapes.forecasts,
    shapes.several(shapes.runs),
    widths,
)
def test_schedules(
    schedule: ScheduleView,
    plan: SchedulePlan | None,
    forecast: Forecast | None,
    recent: list[RunView],
    width: int,
) -> None:
    check(schedule_detail(schedule, plan, recent, forecast, width, now_ms=NOW), width)
    zone = zone_of(schedule.spec.timezone)
    for start_ms, column_ms in ((NOW, 1_800_000), (NOW, 60_000), (-(10**14), 10**12), (0, 1)):
        check(axis(start_ms, column_ms, width, zone, now_ms=NOW), width)
        check([fires(schedule, plan, start_ms, column_ms, width)], width)
        if forecast:
            check([needed(forecast, start_ms, column_ms, width)], width)
    assert zone_of("no/such/zone") is UTC


@SLOW
@given(shapes.tasks, shapes.details, seconds, widths, heights)
def test_histogram(
    task: TaskStats, detail: TaskDetail, window_s: float, width: int, height: int
) -> None:
    check(histogram(detail, width, height), width)
    check(costs(task, window_s, width), width)


@SLOW
@given(
    shapes.workers,
    shapes.several(shapes.attempts, 12),
    widths,
    heights,
    st.sampled_from([0, 1, 900_000]),
)
def test_slots(
    worker: WorkerView, ended: list[WorkerAttempt], width: int, height: int, window_ms: int
) -> None:
    lines = slot_history(worker, ended, width, height, now_ms=NOW, window_ms=window_ms)
    check(lines, width, height)


@SLOW
@given(
    fleet=shapes.several(shapes.workers, 3),
    parts=shapes.several(shapes.partitions, 3),
    waits=st.none() | shapes.queues,
    now=st.none() | shapes.totals,
    timed=shapes.several(shapes.schedules, 3),
    planned=shapes.several(shapes.plans),
)
def test_attention(
    *,
    fleet: list[WorkerView],
    parts: list[PartitionView],
    waits: Queues | None,
    now: Counts | None,
    timed: list[ScheduleView],
    planned: list[SchedulePlan],
) -> None:
    found = attention(
        workers=fleet,
        partitions=parts,
        queues=waits,
        counts=now,
        schedules=timed,
        plans={each.schedule_id: each for each in planned},
        failing={each.id: Failing(part=0.9, elsewhere=0.0) for each in fleet[:1]},
        now_ms=NOW,
    )
    check([line((each.sign, each.look), each.text) for each in found], 400_000)
    ranks = [("bad", "warn", "dim").index(each.look) for each in found]
    assert ranks == sorted(ranks)
