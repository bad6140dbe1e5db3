"""Decides that every number of the reports equals a naive computation."""

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.core.reports.histogram import bounds
from control.model import limits
from control.model.api.reports import SlowAttempt, Spread, TaskStats, WorkerAttempt
from control.model.states import Outcome
from control.model.times import to_rfc3339
from store.facts.database import Facts
from store.facts.fact import Fact
from tests.store.facts.fact_samples import HOUR_MS, NOW_MS, TOPIC, fact, skipped


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[Facts]:
    opened = Facts(tmp_path / "facts.duckdb")
    yield opened
    opened.close()


def spread(values: list[float]) -> Spread:
    if not values:
        return Spread(mean=None, p50=None, p95=None, p99=None, max=None)
    ordered = sorted(values)

    def percentile(q: float) -> float:
        at = q * (len(ordered) - 1)
        low, high = math.floor(at), math.ceil(at)
        return ordered[low] + (ordered[high] - ordered[low]) * (at - low)

    mean = sum(values) / len(values)
    return Spread(
        mean=mean, p50=percentile(0.5), p95=percentile(0.95), p99=percentile(0.99), max=ordered[-1]
    )


def near(one: msgspec.Struct, other: msgspec.Struct) -> bool:
    def flat(value: object) -> object:
        if isinstance(value, dict):
            return {key: flat(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [flat(inner) for inner in value]
        return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value

    return bool(msgspec.to_builtins(one) == flat(msgspec.to_builtins(other)))


def executed(job_id: int) -> st.SearchStrategy[Fact]:
    seconds = st.floats(0, 1e4, allow_nan=False)
    return st.builds(
        lambda **fields: fact(job_id, **fields),
        ago_ms=st.integers(0, 2 * HOUR_MS),
        pipeline=st.sampled_from(["a", "b"]),
        job=st.sampled_from(["x", "y", "ü\0'\"\\{}"]),
        outcome=st.sampled_from(list(Outcome)),
        worker=st.sampled_from(["w-1", "w-2"]),
        partition=st.integers(0, 2),
        wait_seconds=seconds,
        duration_seconds=seconds,
        error=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    )


def history(job_id: int) -> st.SearchStrategy[list[Fact]]:
    """Give a job's attempts, of which the last is final; it may be skipped instead."""
    attempts = st.lists(executed(job_id), max_size=3).map(
        lambda found: [
            msgspec.structs.replace(one, attempt=number, final=number == len(found))
            for number, one in enumerate(found, 1)
        ]
    )
    return attempts | st.just([skipped(job_id, pipeline="a", job="x", ago_ms=5)])


@pytest.mark.slow
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # Emptied below.
@given(
    st.integers(0, 12).flatmap(lambda n: st.tuples(*(history(i) for i in range(n)))),
    st.integers(1_000, 2 * HOUR_MS),
)
def test_reports_equal_a_naive_computation(
    facts: Facts, jobs: tuple[list[Fact], ...], span_ms: int
) -> None:
    facts.prune(2**62)
    rows = [one for attempts in jobs for one in attempts]
    facts.append(rows, TOPIC, {0: len(rows)})
    seen = [one for one in rows if one.finished_ms > NOW_MS - span_ms]
    final = [one for one in seen if one.final]
    ran = [one for one in seen if one.duration_seconds is not None]

    total = facts.summary(span_ms, NOW_MS)
    assert total.jobs == len(final) == total.done + total.error + total.cancelled
    assert total.done == sum(one.outcome == Outcome.DONE for one in final)
    assert total.cancelled == sum(one.outcome == Outcome.CANCELLED for one in final)
    assert total.runs == len({one.run_id for one in final})
    assert total.retries == len(seen) - len(final)
    assert total.throughput == pytest.approx(len(final) / (span_ms / 1000))
    busy = math.fsum(
        min(one.duration_seconds, (one.finished_ms - NOW_MS + span_ms) / 1000)
        for one in seen
        if one.duration_seconds is not None
    )
    assert total.busy_slots == pytest.approx(busy / (span_ms / 1000))
    assert near(total.wait, spread([w for one in final if (w := one.wait_seconds) is not None]))
    for line in facts.pipelines(span_ms, NOW_MS):
        mine = [one for one in final if one.pipeline == line.pipeline]
        assert line.jobs == len(mine)
        took = [d for one in mine if (d := one.duration_seconds) is not None]
        assert near(line.duration, spread(took))
    before = [
        one for one in rows
        if NOW_MS - 2 * span_ms < one.finished_ms <= NOW_MS - span_ms
    ]  # fmt: skip
    tasks = facts.slow_tasks(span_ms, NOW_MS)
    assert len(tasks) == len({(one.pipeline, one.job) for one in ran})
    assert sum(task.slot_seconds for task in tasks) == pytest.approx(seconds_of(ran))
    for task in tasks:
        check_task(task, ran, before, span_ms)
    for partition in facts.partitions(span_ms, NOW_MS):
        inside = [one for one in ran if one.partition == partition.partition]
        assert partition.attempts == len(inside)
        assert near(partition.duration, spread([one.duration_seconds or 0 for one in inside]))
    for worker in facts.workers(span_ms, NOW_MS):
        inside = [one for one in ran if one.worker == worker.worker]
        assert worker.slot_seconds == pytest.approx(seconds_of(inside))
        assert worker.lost == sum(one.outcome == Outcome.LOST for one in inside)


def seconds_of(rows: list[Fact]) -> float:
    return math.fsum(one.duration_seconds or 0 for one in rows)


def check_task(task: TaskStats, ran: list[Fact], before: list[Fact], span_ms: int) -> None:
    def mine(rows: list[Fact]) -> list[Fact]:
        return [
            one
            for one in rows
            if (one.pipeline, one.job) == (task.pipeline, task.job) and one.started_ms
        ]

    took = spread([one.duration_seconds or 0 for one in mine(ran)])
    assert near(
        took, Spread(mean=task.mean, p50=task.p50, p95=task.p95, p99=task.p99, max=task.max)
    )
    earlier = spread([one.duration_seconds or 0 for one in mine(before)]).p95
    assert task.p95_before == (None if earlier is None else pytest.approx(earlier))
    cells: list[list[float]] = [[] for _ in range(limits.TREND_BUCKETS)]
    for one in mine(ran):
        since_ms = one.finished_ms - (NOW_MS - span_ms)
        cells[min((since_ms - 1) * limits.TREND_BUCKETS // span_ms, 23)].append(
            one.duration_seconds or 0
        )
    for shown, values in zip(task.trend, cells, strict=True):
        naive = spread(values).p95
        assert shown == (None if naive is None else pytest.approx(naive))


def whole(low: float, high: float) -> tuple[float, ...]:
    """Bounds at whole seconds."""
    return tuple(range(int(low) + 1, int(high) + 2))


def test_a_task_is_shown_with_how_long_its_attempts_took(facts: Facts) -> None:
    facts.append(
        [
            fact(1, duration_seconds=0.5),
            fact(2, duration_seconds=1.0, wait_seconds=3.0),
            fact(3, duration_seconds=1.9, outcome=Outcome.FAILED, attempt=2, client="acme"),
            fact(4, duration_seconds=4.2, ago_ms=2_000),
            fact(5, duration_seconds=9.0, job="other"),
            fact(6, duration_seconds=9.0, pipeline="other"),
            fact(7, duration_seconds=9.0, ago_ms=HOUR_MS),
            skipped(8),
        ],
        TOPIC,
        {0: 8},
    )
    found = facts.task(("nightly", "pull"), HOUR_MS, NOW_MS, 2, whole)
    assert [(each.below, each.n) for each in found.histogram] == [
        (1.0, 1),
        (2.0, 2),
        (3.0, 0),
        (4.0, 0),
        (5.0, 1),
    ]
    assert (found.duration.max, found.wait.max) == (4.2, 3.0)
    assert found.slowest == (
        SlowAttempt(
            job_id=4,
            run_id=2,
            attempt=1,
            client="ops",
            worker="w-1",
            outcome=Outcome.DONE,
            wait_seconds=1.0,
            duration_seconds=4.2,
            finished_at=to_rfc3339(NOW_MS - 2_000),
        ),
        SlowAttempt(
            job_id=3,
            run_id=1,
            attempt=2,
            client="acme",
            worker="w-1",
            outcome=Outcome.FAILED,
            wait_seconds=1.0,
            duration_seconds=1.9,
            finished_at=to_rfc3339(NOW_MS - 1_000),
        ),
    )


def test_of_an_unknown_task_there_is_nothing_to_show(facts: Facts) -> None:
    found = facts.task(("nobody's", "' OR 1=1"), HOUR_MS, NOW_MS, 2, whole)
    assert (found.pipeline, found.histogram, found.slowest) == ("nobody's", (), ())
    assert found.duration == Spread(mean=None, p50=None, p95=None, p99=None, max=None)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.lists(st.floats(0, 1e7), min_size=1, max_size=50))
def test_every_attempt_is_in_one_part_of_the_histogram(facts: Facts, seconds: list[float]) -> None:
    facts.prune(2**62)
    rows = [fact(at, duration_seconds=each) for at, each in enumerate(seconds)]
    facts.append(rows, TOPIC, {0: len(rows)})
    found = facts.task(("nightly", "pull"), HOUR_MS, NOW_MS, 1, bounds)
    assert sum(each.n for each in found.histogram) == len(seconds)
    below = 0.0
    for each in found.histogram:
        assert each.below is not None
        assert each.n == sum(below <= one < each.below for one in seconds)
        below = each.below
    assert found.slowest[0].duration_seconds == max(seconds)


def test_a_workers_attempts_are_shown_newest_first(facts: Facts) -> None:
    facts.append(
        [
            fact(1, ago_ms=3_000, started_ms=NOW_MS - 5_000),
            fact(2, ago_ms=1_000, outcome=Outcome.LOST, final=False),
            fact(3, ago_ms=2_000, worker="w-2"),
            fact(4, ago_ms=HOUR_MS),
            fact(5, ago_ms=500, started_ms=None, wait_seconds=None, duration_seconds=None),
        ],
        TOPIC,
        {0: 5},
    )
    found = facts.worker("w-1", HOUR_MS, NOW_MS)
    assert [each.job_id for each in found] == [2, 1]
    assert found[1] == WorkerAttempt(
        job_id=1,
        run_id=0,
        attempt=1,
        pipeline="nightly",
        job="pull",
        outcome=Outcome.DONE,
        started_at=to_rfc3339(NOW_MS - 5_000),
        finished_at=to_rfc3339(NOW_MS - 3_000),
    )
    assert [each.job_id for each in facts.worker("w-1", HOUR_MS, NOW_MS, limit=1)] == [2]
    assert facts.worker("nobody", HOUR_MS, NOW_MS) == []
