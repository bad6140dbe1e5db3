"""Owns the made-up system's statistics, schedules, and what they foretell."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from bench.shots.moments import NOW_MS, at
from control.model.api.fleet import WorkerView
from control.model.api.forecast import Forecast, ForecastBucket
from control.model.api.reports import (
    ClassStats,
    DurationBucket,
    SlowAttempt,
    Spread,
    Summary,
    TaskDetail,
    TaskStats,
    WorkerStats,
)
from control.model.api.schedules import PlannedStretch, PlannedView, SchedulePlan, ScheduleView
from control.model.pipelines import ScheduleSpec
from control.model.states import Outcome, Overlap, Speed
from control.model.times import from_rfc3339, to_rfc3339

_HOURS: Final = 48
_SIGNS: Final = "▁▂▃▄▅▆▇█"
_PARIS: Final = ZoneInfo("Europe/Paris")
# Of each task: kind, n, p50 to max, share of slot-seconds, growth, part of errors.
_TASKS: Final = (
    ("media/transcode", "Shell", 412, (38.1, 41.2, 546, 1200), 0.61, 0.38, 0.022),
    ("docs/pdf.render", "Python", 1204, (2.1, 11.8, 31, 72), 0.15, 0.12, 0.001),
    ("etl/load", "Query", 4, (662, 760, 760, 760), 0.09, 0.01, 0.0),
    ("crm/upsert", "HTTP", 18_200, (0.09, 8.4, 12.1, 14), 0.05, 4.1, 0.0001),
    ("thumbs/make", "Shell", 52_000, (0.041, 0.12, 0.31, 2.2), 0.04, -0.02, 0.0),
    ("mail/send", "HTTP", 9910, (0.21, 0.64, 1.9, 5), 0.02, 0.0, 0.0),
    ("media/preview", "Shell", 2001, (0.31, 0.9, 2, 2.4), 0.01, -0.31, 0.0),
)
_TRENDS: Final = (
    "▂▂▂▂▃▃▃▃▄▄▅▅▆▆▇▇▇███",
    "▃▃▃▃▃▂▃▃▃▃▃▃▄▄▄▄▄▄▄▅",
    "▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄",
    "▁▁▁▁▁▁▁▁▁▂▂▃▃▄▅▅▆▇▇█",
    "▂▂▂▂▂▂▃▂▂▂▂▂▂▂▂▂▂▂▂▂",
    "▃▂▃▃▂▃▃▂▃▃▂▃▃▂▃▃▂▃▃▂",
    "▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃",
)
_SLOW_SHARE: Final = 0.08
# Of each schedule: cron, how it overlaps, what a run takes in seconds, its window in seconds.
_SCHEDULES: Final = (
    ("poll-imap", "* * * * *", Overlap.SKIP, 0.9, 0),
    ("thumbs", "*/15 * * * *", Overlap.ALLOW, 35.0, 0),
    ("report-hourly", "0 * * * *", Overlap.SKIP, 4260.0, 0),
    ("billing-sync", "0 * * * *", Overlap.SKIP, 71.0, 600),
    ("nightly-report", "0 4 * * *", Overlap.SKIP, 3720.0, 0),
    ("report-daily", "30 6 * * *", Overlap.QUEUE, 361.0, 0),
    ("mail-digest", "0 * * * *", Overlap.ALLOW, 2.0, 0),
    ("cache-warm", "0 */6 * * *", Overlap.REPLACE, 720.0, 0),
    ("backup-full", "0 11 * * 6", Overlap.SKIP, 7260.0, 0),
    ("import-crm", "0 */6 * * *", Overlap.SKIP, 540.0, 0),
    ("new-pipeline", "45 * * * *", Overlap.SKIP, None, 0),
)


def task_stats() -> list[TaskStats]:
    """Where the slots' time goes."""
    found = []
    rows = zip(_TASKS, _TRENDS, strict=True)
    for (name, kind, n, (p50, p95, p99, most), share, grown, errors), trend in rows:
        pipeline, job = name.split("/")
        before = p95 / (1 + grown)
        found.append(
            TaskStats(
                pipeline=pipeline,
                job=job,
                kind=kind,
                speed=Speed.SLOW if share > _SLOW_SHARE else Speed.FAST,
                n=n,
                errors=round(n * errors),
                error_rate=errors,
                mean=p50 * 1.2,
                p50=p50,
                p95=p95,
                p99=p99,
                max=most,
                slot_seconds=share * 24_200,
                share=share,
                p95_before=before,
                p95_delta=p95 - before,
                trend=tuple(p95 * (_SIGNS.index(sign) + 1) / 8 for sign in trend),
            )
        )
    return found


def task_detail() -> TaskDetail:
    """How long media/transcode took."""
    edges = (10.0, 30.0, 45.0, 120.0, 600.0, None)
    rows = (
        (80977, 90371, "w-45", Outcome.DONE, 1121, 588, 3),
        (81233, 90397, "w-53", Outcome.FAILED, 662, 840, 1),
        (80801, 90371, "w-45", Outcome.DONE, 546, 528, 31),
        (80799, 90371, "w-46", Outcome.DONE, 171, 12, 33),
        (80750, 90371, "w-41", Outcome.TIMED_OUT, 120, 9, 42),
    )
    return TaskDetail(
        pipeline="media",
        job="transcode",
        histogram=tuple(
            DurationBucket(below=below, n=n)
            for below, n in zip(edges, (2, 61, 310, 22, 14, 3), strict=True)
        ),
        wait=Spread(mean=300.0, p50=96.0, p95=1164.0, p99=1180.0, max=1190.0),
        duration=Spread(mean=51.0, p50=38.1, p95=41.2, p99=546.0, max=1200.0),
        slowest=tuple(
            SlowAttempt(
                job_id=job_id,
                run_id=run_id,
                attempt=1,
                client="media",
                worker=worker,
                outcome=outcome,
                wait_seconds=waited,
                duration_seconds=took,
                finished_at=at(-60 * minutes),
            )
            for job_id, run_id, worker, outcome, took, waited, minutes in rows
        ),
    )


def summary() -> Summary:
    """What ended in the last quarter of an hour."""
    fast = Spread(mean=0.2, p50=0.05, p95=0.9, p99=2.0, max=14.0)
    slow = Spread(mean=30.0, p50=20.0, p95=300.0, p99=546.0, max=1200.0)
    return Summary(
        window=900.0,
        runs=214,
        jobs=370_410,
        done=370_390,
        error=12,
        cancelled=8,
        retries=7,
        lost=2,
        throughput=411.6,
        busy_slots=181.2,
        wait=Spread(mean=1.0, p50=0.1, p95=1.1, p99=12.0, max=1170.0),
        duration=fast,
        classes=(
            ClassStats(
                speed=Speed.FAST,
                jobs=369_800,
                wait=Spread(mean=0.3, p50=0.1, p95=1.1, p99=2.0, max=9.0),
                duration=fast,
            ),
            ClassStats(
                speed=Speed.SLOW,
                jobs=610,
                wait=Spread(mean=200.0, p50=96.0, p95=720.0, p99=1100.0, max=1170.0),
                duration=slow,
            ),
        ),
    )


def worker_stats(workers: Iterable[WorkerView]) -> list[WorkerStats]:
    """What each of these has executed: some of it failed here and there."""
    nothing = Spread(mean=None, p50=None, p95=None, p99=None, max=None)
    return [
        WorkerStats(
            worker=worker.id,
            attempts=900 + 7 * number,
            jobs=900 + 7 * number,
            errors=number % 3,
            lost=0,
            duration=nothing,
            slot_seconds=3_200.0,
            throughput=1.0,
        )
        for number, worker in enumerate(workers)
    ]


def schedules() -> list[ScheduleView]:
    """All schedules; that of import-crm is paused."""
    return [_schedule(number) for number in range(len(_SCHEDULES))]


def _schedule(number: int) -> ScheduleView:
    name, cron, overlap, takes, window = _SCHEDULES[number]
    paused = name == "import-crm"
    first = next(iter(_fires(cron)), None)
    return ScheduleView(
        id=number + 1,
        pipeline=name,
        client="acme",
        paused=paused,
        spec=ScheduleSpec(cron=cron, timezone="Europe/Paris", overlap=overlap, window=window),
        next_at=None if paused else first,
        next_nominal=None if paused else first,
        expected_seconds=takes,
    )


def plans(stretch_s: int | None = None) -> list[SchedulePlan]:
    """What each schedule plans for two days; with how much is due in stretches of this length."""
    return [
        _plan(number, () if name == "import-crm" else _fires(cron), stretch_s)
        for number, (name, cron, *_) in enumerate(_SCHEDULES, 1)
    ]


def _plan(number: int, fires: Sequence[str], stretch_s: int | None) -> SchedulePlan:
    name, _, _, takes, _ = _SCHEDULES[number - 1]
    moments = [from_rfc3339(fire) for fire in fires]
    apart = [(after - before) / 1000 for before, after in pairwise(moments)]
    stretches: dict[int, list[str]] = {}
    for fire, moment in zip(fires, moments, strict=True):
        if stretch_s is not None:
            stretches.setdefault(moment // (stretch_s * 1000), []).append(fire)
    return SchedulePlan(
        schedule_id=number,
        at=to_rfc3339(NOW_MS),
        until=to_rfc3339(NOW_MS + _HOURS * 3_600_000),
        runs=len(fires),
        shortest_seconds=min(apart, default=None),
        next=[
            PlannedView(
                schedule_id=number,
                pipeline=name,
                nominal=fire,
                due=fire,
                waiting=False,
                backfill=False,
                expected_seconds=takes,
            )
            for fire in fires[:5]
        ],
        stretches=[PlannedStretch(at=each[0], runs=len(each)) for each in stretches.values()],
    )


@cache
def _fires(cron: str) -> tuple[str, ...]:
    """When this fires in two days: minute, hour, and weekday are looked at."""
    minute, hour, _, _, weekday = cron.split()
    begin = datetime.fromtimestamp(NOW_MS / 1000, UTC).replace(second=0)
    found = []
    for after in range(1, _HOURS * 60 + 1):
        moment = begin + timedelta(minutes=after)
        local = moment.astimezone(_PARIS)
        if (
            _matches(minute, local.minute)
            and _matches(hour, local.hour)
            and _matches(weekday, local.isoweekday() % 7)
        ):
            found.append(to_rfc3339(round(moment.timestamp() * 1000)))
    return tuple(found)


def _matches(field: str, value: int) -> bool:
    if field.startswith("*/"):
        return value % int(field[2:]) == 0
    return field == "*" or int(field) == value


def forecast() -> Forecast:
    """Slots that planned runs need, half hour by half hour."""
    begin = NOW_MS - NOW_MS % 1_800_000
    items = []
    for place in range(_HOURS * 2):
        hour = (12.5 + place / 2) % 24
        night = hour in {2.0, 2.5}
        slots = 188.0 if night else 120 - abs(hour - 14) * 8 + place * 29 % 17
        items.append(
            ForecastBucket(at=to_rfc3339(begin + place * 1_800_000), runs=33, slots=max(slots, 8))
        )
    return Forecast(items=items, slots=192, unknown=48)
