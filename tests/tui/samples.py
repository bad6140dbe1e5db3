"""Owns examples of what the server shows, for tests of how the console draws it."""

from itertools import pairwise
from typing import Any, Final

import msgspec

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
from control.model.api.views import JobView, RunView, StageView
from control.model.pipelines import ScheduleSpec
from control.model.states import Outcome, Speed, State, Trigger
from control.model.times import from_rfc3339, to_rfc3339

NOW: Final = 1_792_068_067_000
HOUR: Final = 3_600_000
NULL: Final = msgspec.Raw(b"null")


def at(seconds: float) -> str:
    """So many seconds from now."""
    return to_rfc3339(NOW + round(seconds * 1000))


def maybe(seconds: float | None) -> str | None:
    """The same, or nothing."""
    return None if seconds is None else at(seconds)


def a_run(**given: object) -> RunView:
    """A run under way."""
    values: dict[str, Any] = {
        "id": 90412,
        "pipeline": "deploy-web",
        "revision": 31,
        "client": "ops",
        "trigger": Trigger.API,
        "state": State.IN_PROGRESS,
        "reason": "",
        "priority": 1,
        "input": NULL,
        "created_at": at(-252),
        "started_at": at(-252),
        "stages": [a_stage("build", {State.DONE: 2}), a_stage("test", {State.IN_PROGRESS: 2})],
    }
    return RunView(**(values | given))


def a_stage(name: str, counts: dict[State, int]) -> StageView:
    """A stage with so many jobs in each state."""
    return StageView(name=name, counts=counts)


def a_job(
    job_id: int,
    name: str,
    stage: str,
    *,
    ready: float | None = None,
    started: float | None = None,
    finished: float | None = None,
    **given: object,
) -> JobView:
    """A job; times are seconds from now, and tell its state."""
    state = State.READY if started is None else State.IN_PROGRESS
    values: dict[str, Any] = {
        "id": job_id,
        "run_id": 90412,
        "name": name,
        "stage": stage,
        "kind": "Shell",
        "version": "1.0.0",
        "state": State.DONE if finished is not None else state,
        "reason": "",
        "priority": 1,
        "attempt": 1,
        "retry_attempt": 2,
        "worker": None,
        "partition": None,
        "progress": None,
        "output": NULL,
        "error": None,
        "created_at": at(-252),
        "ready_at": maybe(ready),
        "started_at": maybe(started),
        "finished_at": maybe(finished),
        "exit_code": None,
    }
    return JobView(**(values | given))


def a_running(
    job_id: int = 81190, *, started: float | None = -1200, **given: object
) -> RunningView:
    """A job that a worker has."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "run_id": 90397,
        "attempt": 1,
        "pipeline": "media",
        "name": "transcode",
        "worker": "w-45",
        "partition": 9,
        "expected": 41.0,
        "started_at": maybe(started),
    }
    return RunningView(**(values | given))


def a_worker(name: str = "w-45", **given: object) -> WorkerView:
    """A connected worker of four slots."""
    values: dict[str, Any] = {
        "id": name,
        "host": "node-7",
        "dispatcher": "d1",
        "state": "connected",
        "reason": "",
        "slots": 4,
        "labels": [],
        "kinds": {},
        "partitions": [9],
        "running": [],
        "connected_at": at(-80_000),
    }
    return WorkerView(**(values | given))


def a_partition(number: int = 9, speed: Speed = Speed.SLOW, **given: object) -> PartitionView:
    """A lane with work in it."""
    values: dict[str, Any] = {
        "partition": number,
        "speed": speed,
        "slots": 16,
        "depth": 4,
        "running": 16,
        "expected_seconds": 750.0,
        "ahead_seconds": 0.0,
        "window_seconds": 12.5,
        "oldest_age_seconds": 1170.0,
        "workers": ["w-45", "w-46", "w-47"],
        "head": a_running(),
        "placed_per_minute": 1.1,
        "ended_per_minute": 0.4,
    }
    return PartitionView(**(values | given))


def some_counts(**given: object) -> Counts:
    """Counts of a busy day."""
    values: dict[str, Any] = {
        "open_runs": 18,
        "waiting": 3912,
        "running": 182,
        "workers": 47,
        "slots": 192,
        "queue_size": 100_000,
    }
    return Counts(**(values | given))


def some_pulses(number: int = 91) -> list[Pulse]:
    """A quarter of an hour in which ever more happened."""
    return [
        Pulse(
            at=at(10 * (place - number)),
            ended=3600 + place * 7 + place % 7 * 60,
            attempts=3600 + place * 7 + place % 7 * 60 + (place % 13 == 5),
            errors=1 if place % 13 == 5 else 0,
            retries=1 if place % 13 == 5 else 0,
            waiting=1000 + place * 32,
            running=180,
        )
        for place in range(number)
    ]


def a_group(reason: str = "no free slot", **given: object) -> WaitingGroup:
    """Jobs that wait for one reason."""
    values: dict[str, Any] = {
        "reason": reason,
        "client": "acme",
        "pipeline": "import-crm",
        "stage": "load",
        "job": "upsert",
        "speed": Speed.FAST,
        "jobs": 2940,
        "order": (1, 2, 3, 4),
        "expected_seconds": 0.09,
        "ready_seconds": 0.4,
        "run_id": 90407,
        "job_id": 81300,
    }
    return WaitingGroup(**(values | given))


def some_queues(*groups: WaitingGroup) -> Queues:
    """What waits, of both classes."""
    return Queues(
        items=list(groups),
        reasons=[WaitingReason(reason=group.reason, jobs=group.jobs) for group in groups],
        classes=[
            WaitingClass(speed=Speed.FAST, jobs=3404, expected_seconds=400.0, oldest_seconds=0.4),
            WaitingClass(speed=Speed.SLOW, jobs=508, expected_seconds=69_120, oldest_seconds=1170),
        ],
    )


def a_spread(scale: float = 1.0) -> Spread:
    """A distribution of seconds."""
    return Spread(mean=40 * scale, p50=38.1 * scale, p95=41.2 * scale, p99=546 * scale, max=1200)


def a_summary() -> Summary:
    """All that ended in an hour."""
    return Summary(
        window=3600.0,
        runs=40,
        jobs=1000,
        done=990,
        error=8,
        cancelled=2,
        retries=7,
        lost=2,
        throughput=0.27,
        busy_slots=12.0,
        wait=a_spread(),
        duration=a_spread(),
        classes=(
            ClassStats(speed=Speed.FAST, jobs=900, wait=a_spread(0.02), duration=a_spread(0.02)),
            ClassStats(speed=Speed.SLOW, jobs=100, wait=a_spread(5), duration=a_spread()),
        ),
    )


def a_task(**given: object) -> TaskStats:
    """The task that costs most."""
    values: dict[str, Any] = {
        "pipeline": "media",
        "job": "transcode",
        "kind": "Shell",
        "speed": Speed.SLOW,
        "n": 412,
        "errors": 9,
        "error_rate": 9 / 412,
        "mean": 40.0,
        "p50": 38.1,
        "p95": 41.2,
        "p99": 546.0,
        "max": 1200.0,
        "slot_seconds": 14_760.0,
        "share": 0.61,
        "p95_before": 29.9,
        "p95_delta": 11.3,
        "trend": (1.0, None, 2.0),
    }
    return TaskStats(**(values | given))


def a_detail() -> TaskDetail:
    """How long its attempts took."""
    edges = (10.0, 30.0, 45.0, 120.0, 600.0, None)
    return TaskDetail(
        pipeline="media",
        job="transcode",
        histogram=tuple(
            DurationBucket(below=below, n=n)
            for below, n in zip(edges, (2, 61, 310, 22, 14, 3), strict=True)
        ),
        wait=a_spread(5),
        duration=a_spread(),
        slowest=(),
    )


def an_attempt(job_id: int, started: float, finished: float, **given: object) -> WorkerAttempt:
    """An attempt that ended."""
    values: dict[str, Any] = {
        "job_id": job_id,
        "run_id": 90397,
        "attempt": 1,
        "pipeline": "media",
        "job": "transcode",
        "outcome": Outcome.DONE,
        "started_at": at(started),
        "finished_at": at(finished),
    }
    return WorkerAttempt(**(values | given))


def a_schedule(schedule_id: int = 7, **given: object) -> ScheduleView:
    """A schedule of every night."""
    values: dict[str, Any] = {
        "id": schedule_id,
        "pipeline": "nightly-report",
        "client": "acme",
        "paused": False,
        "spec": ScheduleSpec(cron="0 4 * * *", timezone="Europe/Paris"),
        "next_at": None,
        "next_nominal": None,
        "expected_seconds": 3720.0,
    }
    return ScheduleView(**(values | given))


def a_plan(after: float, schedule_id: int = 7, **given: object) -> PlannedView:
    """A run that is planned so many seconds from now."""
    values: dict[str, Any] = {
        "schedule_id": schedule_id,
        "pipeline": "nightly-report",
        "nominal": at(after),
        "due": at(after),
        "waiting": False,
        "backfill": False,
    }
    return PlannedView(**(values | given))


def a_plan_of(*runs: PlannedView, **given: object) -> SchedulePlan:
    """What one schedule has planned, if it is these runs."""
    moments = sorted(from_rfc3339(run.nominal) for run in runs if not run.backfill)
    apart = [(after - before) / 1000 for before, after in pairwise(moments)]
    values: dict[str, Any] = {
        "schedule_id": 7,
        "at": at(0),
        "until": at(48 * 3600),
        "runs": len(runs),
        "shortest_seconds": min(apart, default=None),
        "next": list(runs),
        "stretches": [PlannedStretch(at=run.due, runs=1) for run in runs],
    }
    return SchedulePlan(**(values | given))


def a_forecast(*slots: float) -> Forecast:
    """Half hours from now on that need so many slots."""
    return Forecast(
        items=[
            ForecastBucket(at=at(1800 * place), runs=1, slots=value)
            for place, value in enumerate(slots)
        ],
        slots=192,
        unknown=0,
    )
