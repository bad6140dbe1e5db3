"""Decides what an operator is told to look at, and what not."""

from typing import Any

import pytest

from control.model.api.reports import WorkerStats
from control.model.pipelines import ScheduleSpec
from control.model.states import Overlap, Speed
from tests.tui.samples import (
    NOW,
    a_group,
    a_partition,
    a_plan,
    a_plan_of,
    a_running,
    a_schedule,
    a_spread,
    a_worker,
    at,
    some_counts,
    some_queues,
)
from tui.core.alerts import Concern, attention
from tui.core.failing import Failing, failing
from tui.core.tables.fleet import FleetContext, workers
from tui.core.tables.work import ServerTime


def found(**given: Any) -> list[Concern]:  # noqa: ANN401 - whatever attention takes.
    nothing: dict[str, Any] = {
        "workers": [],
        "partitions": [],
        "queues": None,
        "counts": None,
        "schedules": [],
        "plans": {},
        "failing": {},
        "now_ms": NOW,
    }
    return attention(**(nothing | given))


def texts(**given: Any) -> list[str]:  # noqa: ANN401
    return [concern.text for concern in found(**given)]


def test_all_is_well() -> None:
    calm = a_partition(oldest_age_seconds=60.0)
    assert not found(
        workers=[a_worker(running=[a_running(started=-50), a_running(2, started=None)])],
        partitions=[calm, a_partition(1, Speed.FAST, oldest_age_seconds=None)],
        queues=some_queues(a_group()),
        counts=some_counts(),
        schedules=[a_schedule()],
        plans={7: a_plan_of(a_plan(86_400), a_plan(2 * 86_400))},
    )


def test_a_job_that_takes_far_longer() -> None:
    worker = a_worker(running=[a_running(), a_running(2, started=-9, expected=1.0)])
    assert texts(workers=[worker]) == ["job 81190 media/transcode 20m00s on w-45, expected 41.0s"]


def test_workers() -> None:
    workers = [
        a_worker("w-2", silent_since=at(-6), running=[a_running(started=-5)]),
        a_worker("w-1", state="lost", lost_at=at(-240), reason="silent for 10 s"),
        a_worker("w-0", state="lost", lost_at=at(-601)),
    ]
    assert texts(workers=workers) == [
        "worker w-1 lost 4m ago: silent for 10 s",
        "worker w-2 silent 6s, holds 1 job",
    ]


def test_a_sick_worker_and_one_that_drained() -> None:
    workers = [
        a_worker("w-1", sick="No space left on device", reason="No space left on device"),
        a_worker("w-2", state="drained", reason="it had drained", drained_at=at(-9)),
        a_worker("w-3", state="lost", lost_at=at(-9), sick="full"),
    ]
    assert texts(workers=workers) == [
        "worker w-1 can start no jobs: No space left on device",
        "worker w-3 lost 9s ago",
    ]


def _stats(worker: str, attempts: int, errors: int) -> WorkerStats:
    spread = a_spread()
    return WorkerStats(
        worker=worker,
        attempts=attempts,
        jobs=attempts,
        errors=errors,
        lost=0,
        duration=spread,
        slot_seconds=1.0,
        throughput=1.0,
    )


def test_a_worker_that_fails_far_more_than_the_others() -> None:
    stats = [_stats("w-1", 100, 2), _stats("w-2", 100, 1), _stats("w-3", 50, 17)]
    sick = failing([*stats, _stats("w-4", 9, 9)])
    assert texts(workers=[a_worker("w-3"), a_worker("w-1")], failing=sick) == [
        "worker w-3: 34% of its attempts fail, 5.7% elsewhere"
    ]
    assert not failing([_stats("w-1", 100, 40), _stats("w-2", 100, 35)])
    assert failing([_stats("w-1", 10, 2), _stats("w-2", 10, 0)])
    assert not failing([_stats("w-1", 10, 2), _stats("w-2", 9, 0)])  # Nothing to compare with.


def test_who_needs_to_be_looked_at() -> None:
    fleet = FleetContext(ServerTime())
    fleet.time.now_ms = NOW
    fleet.failing = {"fails": Failing(part=0.5, elsewhere=0.0)}
    found = [
        a_worker("sick", sick="full"),
        a_worker("late", running=[a_running(started=-1200)]),
        a_worker("silent", silent_since=at(-5)),
        a_worker("fails"),
        a_worker("draining", state="draining"),
        a_worker("lost", state="lost"),
        a_worker("well"),
        a_worker("drained", state="drained"),
    ]
    need, *_ = workers(fleet)
    values = [need.value(each) for each in found]
    assert values == sorted(values, key=lambda value: int(value or 0))
    assert [each.id for each in found if not fleet.is_faulty(each)] == ["well", "drained"]


def test_old_jobs_in_lanes() -> None:
    lanes = [
        a_partition(9, oldest_age_seconds=901.0),
        a_partition(3, Speed.FAST, oldest_age_seconds=31.0),
        a_partition(4, Speed.FAST, oldest_age_seconds=29.0),
    ]
    assert texts(partitions=lanes) == [
        "p3 fast: oldest job 31.0s, over 30s",
        "p9 slow: oldest job 15m01s, over 15m",
    ]


def test_jobs_that_nobody_can_run_and_a_full_queue() -> None:
    reason = "no connected worker can run Shell 1.0.0 with labels gpu"
    queues = some_queues(a_group(reason, jobs=209), a_group())
    concerns = found(queues=queues, counts=some_counts(waiting=95_000))
    assert [concern.about for concern in concerns] == [("class", "fast"), ("job", 81300)]
    assert concerns[1].text == f"209 jobs wait: {reason}"


@pytest.mark.parametrize(
    ("overlap", "then"),
    [(Overlap.SKIP, "skips some"), (Overlap.QUEUE, "falls behind")],
)
def test_a_schedule_that_fires_too_often(overlap: Overlap, then: str) -> None:
    spec = ScheduleSpec(cron="0 * * * *", overlap=overlap)
    plan = a_plan_of(*(a_plan(hour * 3600) for hour in range(4)))
    late = a_schedule(expected_seconds=4260.0, spec=spec)
    assert texts(schedules=[late], plans={7: plan}) == [
        f"nightly-report takes 1h11m, fires every 1h00m: {then}"
    ]
    assert not texts(schedules=[late], plans={7: a_plan_of(a_plan(0))})


def test_the_worst_comes_first_and_keys_stay() -> None:
    given: dict[str, Any] = {
        "workers": [a_worker("w-9", silent_since=at(-6), running=[a_running()])],
        "schedules": [a_schedule(paused=True)],
    }
    concerns = found(**given)
    assert [concern.look for concern in concerns] == ["bad", "warn", "dim"]
    assert [concern.sign for concern in concerns] == ["▲", "▲", "‖"]
    later = found(**(given | {"now_ms": NOW + 60_000}))
    assert [concern.key for concern in later] == [concern.key for concern in concerns]
