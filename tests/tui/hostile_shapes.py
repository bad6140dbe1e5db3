"""Owns what a hostile server may send in each of the shapes that the console draws."""

from typing import Any, TypeVar

from hypothesis import strategies as st

from control.model.api.fleet import PartitionView, RunningView, WorkerView
from control.model.api.forecast import Forecast, ForecastBucket
from control.model.api.live import Counts, Pulse
from control.model.api.queues import Queues, WaitingClass, WaitingGroup, WaitingReason
from control.model.api.reports import (
    ClassStats,
    DurationBucket,
    Spread,
    Summary,
    TaskDetail,
    TaskStats,
    WorkerAttempt,
)
from control.model.api.schedules import PlannedStretch, PlannedView, SchedulePlan, ScheduleView
from control.model.api.views import AttemptView, JobView, RunView, StageView
from control.model.pipelines import Dst, ScheduleSpec
from control.model.states import Fold, Gap, Missed, Outcome, Overlap, Speed, State, Trigger
from tests.tui.hostile import counts, maybe_times, seconds, texts, times
from tests.tui.samples import NULL

Shape = TypeVar("Shape")
ids = st.integers(1, 6)
rates = st.floats(0, 1)
zones = st.one_of(texts, st.sampled_from(["Europe/Paris", "America/Lima", "Asia/Kolkata", ".."]))


def some(of: type[Shape], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Shape]:
    """Values of a shape with such fields."""
    return st.builds(of, **fields)


def several(of: st.SearchStrategy[Shape], most: int = 6) -> st.SearchStrategy[list[Shape]]:
    """A few of them."""
    return st.lists(of, max_size=most)


speeds = st.sampled_from(Speed)
states = st.sampled_from(State)
outcomes = st.sampled_from(Outcome)
stages = some(StageView, name=texts, counts=st.dictionaries(states, counts, max_size=3))
runs = some(
    RunView,
    id=ids,
    pipeline=texts,
    revision=st.none(),
    client=texts,
    trigger=st.sampled_from(Trigger),
    state=states,
    reason=texts,
    priority=ids,
    input=st.just(NULL),
    created_at=times,
    started_at=maybe_times,
    finished_at=maybe_times,
    scheduled_for=maybe_times,
    schedule_id=st.sampled_from([1, 2]),
    stages=several(stages),
    expected_seconds=st.one_of(st.none(), seconds),
)
earlier = some(
    AttemptView,
    attempt=ids,
    outcome=outcomes,
    worker=texts,
    partition=st.none(),
    error=texts,
    exit_code=st.none(),
    log_bytes=counts,
    started_at=maybe_times,
    finished_at=times,
)
running = some(
    RunningView,
    job_id=ids,
    run_id=st.none(),
    attempt=ids,
    pipeline=texts,
    name=texts,
    worker=texts,
    partition=ids,
    expected=seconds,
    started_at=maybe_times,
)
workers = some(
    WorkerView,
    id=texts,
    host=texts,
    dispatcher=texts,
    state=st.sampled_from(["connected", "draining", "drained", "lost"]),
    reason=texts,
    slots=st.integers(0, 20),
    labels=several(texts),
    kinds=st.just({}),
    partitions=several(ids),
    running=several(running),
    connected_at=times,
    silent_since=maybe_times,
    lost_at=maybe_times,
    sick=st.none() | texts,
)
partitions = some(
    PartitionView,
    partition=ids,
    speed=speeds,
    slots=counts,
    depth=counts,
    running=counts,
    expected_seconds=seconds,
    ahead_seconds=seconds,
    window_seconds=seconds,
    oldest_age_seconds=st.one_of(st.none(), seconds),
    workers=several(texts),
    head=st.one_of(st.none(), running),
    placed_per_minute=seconds,
    ended_per_minute=seconds,
)
groups = some(
    WaitingGroup,
    reason=st.one_of(texts, texts.map(lambda text: f"no connected worker can run {text}")),
    client=texts,
    pipeline=texts,
    stage=texts,
    job=texts,
    speed=speeds,
    jobs=counts,
    order=st.just((1, 1, 1, 1)),
    expected_seconds=seconds,
    ready_seconds=seconds,
    run_id=ids,
    job_id=ids,
)
queues = some(
    Queues,
    items=several(groups),
    reasons=several(some(WaitingReason, reason=texts, jobs=counts)),
    classes=several(
        some(
            WaitingClass,
            speed=speeds,
            jobs=counts,
            expected_seconds=seconds,
            oldest_seconds=st.one_of(st.none(), seconds),
        )
    ),
)
totals = some(
    Counts,
    open_runs=counts,
    waiting=counts,
    running=counts,
    workers=counts,
    slots=counts,
    queue_size=counts,
)
pulses = some(
    Pulse, at=times, ended=counts, errors=counts, retries=counts, lost=counts, waiting=counts
)
maybe_seconds = st.one_of(st.none(), seconds)
spreads = some(
    Spread,
    mean=maybe_seconds,
    p50=maybe_seconds,
    p95=maybe_seconds,
    p99=maybe_seconds,
    max=maybe_seconds,
)
summaries = some(
    Summary,
    window=seconds,
    runs=counts,
    jobs=counts,
    done=counts,
    error=counts,
    cancelled=counts,
    retries=counts,
    lost=counts,
    throughput=seconds,
    busy_slots=seconds,
    wait=spreads,
    duration=spreads,
    classes=several(some(ClassStats, speed=speeds, jobs=counts, wait=spreads, duration=spreads)),
)
tasks = some(
    TaskStats,
    pipeline=texts,
    job=texts,
    kind=texts,
    speed=speeds,
    n=counts,
    errors=counts,
    error_rate=rates,
    mean=seconds,
    p50=seconds,
    p95=seconds,
    p99=seconds,
    max=seconds,
    slot_seconds=seconds,
    share=rates,
    p95_before=maybe_seconds,
    p95_delta=maybe_seconds,
    trend=several(maybe_seconds),
)
details = some(
    TaskDetail,
    pipeline=texts,
    job=texts,
    histogram=several(some(DurationBucket, below=maybe_seconds, n=counts), 12),
    wait=spreads,
    duration=spreads,
    slowest=st.just(()),
)
attempts = some(
    WorkerAttempt,
    job_id=ids,
    run_id=ids,
    attempt=ids,
    pipeline=texts,
    job=texts,
    outcome=outcomes,
    started_at=times,
    finished_at=times,
)
schedules = some(
    ScheduleView,
    id=st.sampled_from([1, 2]),
    pipeline=texts,
    client=texts,
    paused=st.booleans(),
    spec=some(
        ScheduleSpec,
        cron=texts,
        timezone=zones,
        missed=st.sampled_from(Missed),
        overlap=st.sampled_from(Overlap),
        dst=some(Dst, gap=st.sampled_from(Gap), fold=st.sampled_from(Fold)),
        window=seconds,
    ),
    next_at=maybe_times,
    next_nominal=maybe_times,
    expected_seconds=maybe_seconds,
)
_planned = some(
    PlannedView,
    schedule_id=st.sampled_from([1, 2]),
    pipeline=texts,
    nominal=times,
    due=times,
    waiting=st.booleans(),
    backfill=st.booleans(),
    expected_seconds=maybe_seconds,
)
plans = some(
    SchedulePlan,
    schedule_id=st.sampled_from([1, 2]),
    at=times,
    until=times,
    runs=counts,
    shortest_seconds=maybe_seconds,
    next=several(_planned),
    stretches=several(some(PlannedStretch, at=times, runs=counts)),
)
forecasts = some(
    Forecast,
    items=several(some(ForecastBucket, at=times, runs=counts, slots=seconds)),
    slots=counts,
    unknown=counts,
)


@st.composite
def runs_with_jobs(draw: st.DrawFn) -> tuple[RunView, list[JobView]]:
    """A run and jobs, most of its stages."""
    run = draw(runs)
    named = st.sampled_from([stage.name for stage in run.stages] or [""])
    job = some(
        JobView,
        id=st.integers(1, 40),
        run_id=ids,
        name=st.one_of(texts, ids.map(lambda number: f"unit-{number}")),
        stage=st.one_of(named, texts),
        kind=texts,
        version=texts,
        state=states,
        reason=texts,
        priority=ids,
        attempt=ids,
        retry_attempt=ids,
        worker=texts,
        partition=ids,
        progress=st.one_of(st.none(), rates),
        output=st.just(NULL),
        error=texts,
        created_at=times,
        ready_at=maybe_times,
        started_at=maybe_times,
        finished_at=maybe_times,
        exit_code=st.none(),
        attempts=several(earlier, 3),
    )
    return run, draw(st.lists(job, max_size=20))
