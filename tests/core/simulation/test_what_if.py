"""Checks what is told of jobs that are played again, where waits can be counted by hand."""

import pytest

from control.core.balancer.policy import Policy
from control.core.balancer.slow_threshold import THRESHOLD_MAX_S
from control.core.simulation.what_if import Comparison, Overrides, Setup, changed, compare, spread
from control.core.simulation.workload import Farm, PlayedJob
from control.model.states import Speed

NOW = Setup(farm=Farm(slots=(1,), partitions=2, delay_s=0.0), policy=Policy(partitions=2))


def job(at_s: float, seconds: float, pipeline: str = "p", **fields: object) -> PlayedJob:
    values: dict[str, object] = {"run": 1, "arrival_s": at_s}
    return PlayedJob(at_s=at_s, seconds=seconds, pipeline=pipeline, **(values | fields))  # type: ignore[arg-type]


def played(jobs: list[PlayedJob], changes: Overrides, late_s: float = 60.0) -> Comparison:
    return compare(jobs, NOW, changed(NOW, changes), late_s=late_s)


def test_more_slots_end_a_wait() -> None:
    found = played([job(0.0, 100.0), job(0.0, 100.0, "q")], Overrides(slots=3))
    assert found.what_if is not None
    # Of three slots, slow jobs leave one free.
    for play, waited, late, used in ((found.now, 100.0, 1, 1.0), (found.what_if, 0.0, 0, 2 / 3)):
        (fast, slow) = play.classes
        assert (fast.jobs, fast.wait.max, slow.jobs) == (0, None, 2)
        assert slow.wait.max == pytest.approx(waited)
        assert (slow.late, play.late) == (late, late)
        assert play.utilisation == pytest.approx(used)
    assert found.span_seconds == pytest.approx(200.0)
    assert (found.now.slots, found.what_if.slots) == (1, 3)


def test_the_latest_pipelines_are_named() -> None:
    jobs = [job(0.0, 10.0, "first"), *(job(0.0, 10.0, "many") for _ in range(3))]
    found = played(jobs, Overrides(), late_s=9.0)
    assert found.what_if is None  # Nothing was to be otherwise.
    late = {each.pipeline: (each.jobs, each.late) for each in found.now.pipelines}
    assert sum(count for _, count in late.values()) == found.now.late == 3
    assert late["many"][0] == 3
    assert max(each.longest_seconds for each in found.now.pipelines) == pytest.approx(30.0)


def test_a_class_is_that_of_the_name_in_both_plays() -> None:
    jobs = [job(0.0, 1.0, "bimodal"), job(0.0, 99.0, "bimodal"), job(0.0, 1.0, "short")]
    found = played(jobs, Overrides(slow_threshold=0.5, workers=2))
    assert found.what_if is not None
    for play in (found.now, found.what_if):
        assert [(each.speed, each.jobs) for each in play.classes] == [
            (Speed.FAST, 1),
            (Speed.SLOW, 2),
        ]
    assert (found.now.slow_threshold, found.what_if.slow_threshold) == ("auto", 0.5)


def test_only_what_is_asked_for_changes() -> None:
    now = Setup(farm=Farm(slots=(4, 2), partitions=10), policy=Policy())
    assert changed(now, Overrides()) == now
    assert changed(now, Overrides(workers=5)).farm.slots == (4, 2, 4, 2, 4)
    assert changed(now, Overrides(workers=1)).farm.slots == (4,)
    assert changed(now, Overrides(slots=3)).farm.slots == (3, 3)
    more = changed(now, Overrides(partitions=20))
    assert (more.farm.partitions, more.policy.partitions) == (20, 20)
    auto = changed(now, Overrides(slow="auto", lend=False)).policy
    assert (auto.slow_share, auto.lend) == (None, False)
    fixed = changed(now, Overrides(slow=0.25, slow_threshold=5.0)).policy
    assert (fixed.slow_share, fixed.slow_threshold_s) == (0.25, 5.0)
    learned = changed(Setup(farm=now.farm, policy=fixed), Overrides(slow_threshold="auto"))
    assert learned.policy == Policy(slow_share=0.25)


def test_percentiles_are_interpolated() -> None:
    found = spread(range(101))
    assert (found.mean, found.p50, found.p95, found.p99, found.max) == (50, 50, 95, 99, 100)
    assert spread([1.0, 2.0]).p50 == 1.5
    assert spread([]).max is None


def test_what_is_slow_is_learned_from_the_jobs_unless_it_is_fixed() -> None:
    mix = [job(0.0, 0.01, "short") for _ in range(90)] + [job(0.0, 1.0, "long") for _ in range(10)]
    assert 0.01 < played(mix, Overrides()).threshold_seconds < 1.0
    assert played([job(0.0, 0.001)], Overrides()).threshold_seconds == THRESHOLD_MAX_S
    fixed = changed(NOW, Overrides(slow_threshold=7.0))
    assert compare(mix, fixed, fixed, late_s=1.0).threshold_seconds == 7.0
