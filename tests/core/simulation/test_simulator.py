"""Decides what faults, drift, cold starts and floods may cost, each beside a play without them.

Played with the real policy in virtual time. A bound is a multiple of what was played in the same
test: the same jobs without the fault, with a farm that is as small, or in a central FIFO queue.
"""

from itertools import pairwise

import msgspec
import pytest

from bench.balancer.central import play_fifo
from control.core.balancer.estimates import Estimates
from control.core.balancer.policy import Policy
from control.core.simulation.simulator import play
from control.core.simulation.workload import Farm, Played, PlayedJob, WorkerFault
from control.model import limits
from tests.core.simulation.playing import Stream, is_fast, p99, times_longer, usual, waits, workload

pytestmark = pytest.mark.slow

FARM = Farm(slots=(2,) * 10)
FELT_S = 0.1  # A difference of less is not felt.


def check_all_ended_once(jobs: list[PlayedJob], played: Played) -> None:
    """Everything ended, after it was ready, and ran for its own seconds in one piece."""
    for job, ready, begun, ended in zip(
        jobs, played.ready, played.started, played.ended, strict=True
    ):
        assert job.at_s == pytest.approx(ready)
        assert ready < begun
        assert ended - begun == pytest.approx(job.seconds)


@pytest.mark.parametrize("seed", [1, 2])
def test_half_of_the_workers_killed_and_back(seed: int) -> None:
    gone_s, back_s, settled_s = 500.0, 620.0, 740.0
    jobs = workload(usual(1000.0, load=0.65, slots=FARM.total), seed)
    faults = [WorkerFault(at_s=gone_s, worker=each, slowness=None) for each in range(5)]
    faults += [WorkerFault(at_s=back_s, worker=each, slowness=1.0) for each in range(5)]
    hurt = msgspec.structs.replace(FARM, faults=tuple(faults))
    with_fault, without = play(jobs, hurt, Policy()), play(jobs, FARM, Policy())
    fifo = play_fifo(jobs, hurt)
    check_all_ended_once(jobs, with_fault)
    assert with_fault.lost_s > 0

    def in_outage(job: PlayedJob) -> bool:
        return is_fast(job) and gone_s <= job.at_s < settled_s

    def outside(job: PlayedJob) -> bool:
        return is_fast(job) and not gone_s <= job.at_s < settled_s

    assert p99(jobs, with_fault, outside) <= 1.25 * p99(jobs, without, outside) + FELT_S
    assert p99(jobs, with_fault, in_outage) <= 0.4 * p99(jobs, fifo, in_outage)
    assert waits(jobs, with_fault, in_outage)[-1] <= waits(jobs, fifo, in_outage)[-1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_worker_that_turns_five_times_slower_and_is_well_again(seed: int) -> None:
    slow_s, well_s, forgiven_s = 300.0, 800.0, 980.0
    mark = 1.001  # It is as good as well, and what it ran can be told.
    jobs = workload(usual(1200.0, load=0.6, slots=FARM.total), seed)
    faults = (
        WorkerFault(at_s=slow_s, worker=0, slowness=5.0),
        WorkerFault(at_s=well_s, worker=0, slowness=mark),
    )
    played = play(jobs, msgspec.structs.replace(FARM, faults=faults), Policy())
    dropped = play(jobs, Farm(slots=FARM.slots[1:]), Policy())

    def during(job: PlayedJob) -> bool:
        return is_fast(job) and slow_s <= job.at_s < well_s

    # Better than to do without it, although nobody told the balancer.
    assert p99(jobs, played, during) <= 1.1 * p99(jobs, dropped, during) + FELT_S

    times = times_longer(jobs, played)
    there = sorted(
        (played.ended[at], job.seconds) for at, job in enumerate(jobs) if times[at] > 4.0
    )
    recognised_s = there[9][0]  # After ten ends of its own.
    late = [
        job.seconds
        for at, job in enumerate(jobs)
        if times[at] > 4.0 and played.started[at] > recognised_s
    ]
    assert all(seconds < 4.0 for seconds in late)  # Slow jobs never, long ones hardly ever.
    assert sum(seconds > 1.0 for seconds in late) <= 0.1 * len(late) + 2
    slow = [at for at, job in enumerate(jobs) if not is_fast(job)]
    slow_there = sum(times[at] > 4.0 for at in slow)
    assert slow_there <= 0.02 * sum(slow_s <= played.started[at] < well_s for at in slow)

    begun = [at for at in range(len(jobs)) if played.started[at] > forgiven_s]
    its_own = [at for at in begun if 1 < 1 + (times[at] - 1) / (mark - 1) < 3]
    assert len(its_own) >= 0.7 * len(begun) / len(FARM.slots)
    assert any(not is_fast(jobs[at]) for at in its_own)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_pipeline_that_turns_from_10_ms_to_60_s(seed: int) -> None:
    turns_s, until_s = 100.0, 500.0
    others = [
        Stream(pipeline=f"fast-{at}", rate=2.0, seconds=seconds, until_s=until_s)
        for at, seconds in enumerate((0.01, 0.03, 0.09))
    ]
    turning = Stream(
        pipeline="turning",
        rate=0.4,  # Before the first of them ends they have all slots; there are too many for ever.
        seconds=0.01,
        spread=0.1,
        until_s=until_s,
        turns=(turns_s, 60.0),
    )
    jobs, others_only = workload([*others, turning], seed), workload(others, seed)
    farm, learned = Farm(slots=(4,) * 5), Estimates()
    played, fifo = play(jobs, farm, Policy(), learned), play_fifo(jobs, farm)
    check_all_ended_once(jobs, played)
    assert learned.expected(("turning", "job")) > 30.0
    ends = sorted(played.ended[at] for at, job in enumerate(jobs) if job.seconds > 10.0)

    def after(job: PlayedJob) -> bool:
        return is_fast(job) and job.at_s >= ends[2]  # Of the third of the long ones.

    # From then on at least the one slot is theirs that slow jobs leave free.
    reserve = play(others_only, Farm(slots=(1,)), Policy())
    assert p99(jobs, played, after) <= 1.25 * p99(others_only, reserve, after) + FELT_S
    assert p99(jobs, played, after) <= 0.01 * p99(jobs, fifo, after)


def test_what_waits_at_a_worker_behind_a_job_that_overruns_is_handed_back() -> None:
    known = Estimates()
    for pipeline in ("turning", "tiny"):
        for _ in range(20):
            known.learn((pipeline, "job"), 0.001)
    tiny = Stream(pipeline="tiny", rate=1500.0, seconds=0.001, until_s=1.0)
    long = Stream(pipeline="turning", rate=10.0, seconds=60.0, from_s=0.2, until_s=1.2)
    (first, *_) = long.jobs(1)
    jobs = sorted([first, *tiny.jobs(1)], key=lambda job: job.at_s)
    played = play(jobs, Farm(slots=(1, 1)), Policy(), known)
    check_all_ended_once(jobs, played)
    # One slot has to do everything then, and cannot: all the time it is at least as bad.
    alone = play(tiny.jobs(1), Farm(slots=(1,)), Policy(), known)
    longest = max(alone.waits())
    assert waits(jobs, played, lambda job: job is not first)[-1] <= longest + limits.OVERRUN_S


@pytest.mark.parametrize("seed", [1, 2])
def test_after_the_first_ends_a_cold_start_is_as_good_as_a_warm_one(seed: int) -> None:
    streams = usual(700.0, load=0.75, slots=FARM.total)
    # More than the farm can do at first, so that the order counts before anything is known.
    streams += [
        msgspec.structs.replace(each, rate=2 * each.rate, until_s=30.0, client="early")
        for each in streams
    ]
    jobs = workload(streams, seed)
    known = Estimates()
    for job in workload(usual(1000.0, load=0.75, slots=FARM.total), seed + 100):
        known.learn((job.pipeline, job.name), job.seconds)
    cold, warm = play(jobs, FARM, Policy()), play(jobs, FARM, Policy(), known)
    check_all_ended_once(jobs, cold)
    first_s = sorted(cold.ended)[1500]  # Slow jobs that began too early have ended by then.

    def later(job: PlayedJob) -> bool:
        return is_fast(job) and job.at_s >= first_s

    assert p99(jobs, cold, later) <= 1.2 * p99(jobs, warm, later) + FELT_S


@pytest.mark.parametrize("seed", [1, 2])
def test_a_flood_by_one_client_is_its_own_affair(seed: int) -> None:
    flood = Stream(
        pipeline="flood",
        client="greedy",
        rate=40.0,
        seconds=1.0,
        spread=0.1,
        from_s=200.0,
        until_s=300.0,
    )
    others = [
        msgspec.structs.replace(each, client=f"client-{at % 4}")
        for at, each in enumerate(usual(700.0, load=0.6, slots=FARM.total))
    ]
    jobs = workload([*others, flood], seed)
    ours, fifo = play(jobs, FARM, Policy()), play_fifo(jobs, FARM)
    check_all_ended_once(jobs, ours)  # The flood's jobs, too.

    def meanwhile(job: PlayedJob) -> bool:
        return is_fast(job) and 200.0 <= job.at_s < 500.0

    def floods(job: PlayedJob) -> bool:
        return job.client == "greedy"

    assert p99(jobs, ours, meanwhile) <= 0.25 * p99(jobs, fifo, meanwhile)


def test_the_same_seed_gives_the_same_play() -> None:
    faults = (
        WorkerFault(at_s=40.0, worker=1, slowness=5.0),
        WorkerFault(at_s=60.0, worker=2, slowness=None),
        WorkerFault(at_s=90.0, worker=2, slowness=1.0),
    )
    farm = msgspec.structs.replace(FARM, faults=faults)
    jobs = workload(usual(150.0, load=0.8, slots=FARM.total), 1)
    assert jobs == workload(usual(150.0, load=0.8, slots=FARM.total), 1)
    assert jobs != workload(usual(150.0, load=0.8, slots=FARM.total), 2)
    plays = [play(jobs, farm, Policy()) for _ in range(3)]
    assert all(one == other for one, other in pairwise(plays))
