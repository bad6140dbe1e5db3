"""Decides that the classical policies put jobs where their rules say."""

import random

import pytest

from bench.balancer.classical import CLASSICAL, YlemAsDescribed, play_classical
from bench.balancer.lanes import LanePlay
from control.core.simulation.workload import Farm, PlayedJob, WorkerFault
from tests.bench.played import farm, job, mean, poisson


def lanes_of(name: str, jobs: list[PlayedJob], slots: Farm) -> list[int]:
    """Which lane each job went to."""
    lanes = LanePlay(jobs, slots)
    chooser = CLASSICAL[name](lanes, random.Random(1))
    found = [-1] * len(jobs)

    class Watching:
        def choose(self, place: int, now: float) -> int:
            found[place] = chooser.choose(place, now)
            return found[place]

        def ended(self, place: int, lane: int, seconds: float) -> None:
            chooser.ended(place, lane, seconds)

    lanes.play(Watching())
    return found


def test_one_lane_waits_as_pollaczek_and_khinchine_say() -> None:
    # A shifted exponential duration: mean 1, variance 1/4.
    jobs = poisson(60_000, 0.7, lambda chance: 0.5 + chance.expovariate(2.0))
    wait = mean(play_classical("random", jobs, farm(1), 1).waits())
    assert wait == pytest.approx(0.7 * (1 + 0.25) / 2 / 0.3, rel=0.1)


@pytest.mark.parametrize("name", list(CLASSICAL))
def test_every_policy_ends_every_job_after_its_time(name: str) -> None:
    jobs = poisson(2_000, 3.0, lambda chance: chance.lognormvariate(-0.5, 1.2))
    faults = (
        WorkerFault(at_s=50, worker=0, slowness=None),
        WorkerFault(at_s=80, worker=0, slowness=1.0),
        WorkerFault(at_s=100, worker=1, slowness=5.0),
        WorkerFault(at_s=120, worker=1, slowness=1.0),
    )
    played = play_classical(name, jobs, Farm(slots=(2, 2, 2), faults=faults), 1)
    for each, ready, begun, end in zip(
        jobs, played.ready, played.started, played.ended, strict=True
    ):
        assert ready == each.at_s
        assert begun >= ready
        assert end >= begun + each.seconds - 1e-9
    assert played == play_classical(name, jobs, Farm(slots=(2, 2, 2), faults=faults), 1)


def test_hash_sends_a_pipeline_to_one_lane() -> None:
    jobs = [job(at, 0.1, run=at, pipeline=f"p{at % 7}") for at in range(70)]
    found = lanes_of("hash", jobs, farm(1, 1, 1, 1))
    for pipeline in range(7):
        assert len({found[at] for at in range(70) if at % 7 == pipeline}) == 1
    assert len(set(found)) > 1


def test_round_robin_goes_round() -> None:
    assert lanes_of("round-robin", [job(0, 1)] * 5, farm(1, 1, 1)) == [0, 1, 2, 0, 1]


def test_the_shortest_queue_is_joined() -> None:
    assert sorted(lanes_of("shortest-queue", [job(0, 1)] * 6, farm(1, 1, 1))) == [0, 0, 1, 1, 2, 2]


def test_the_least_work_is_joined() -> None:
    jobs = [job(0, 10), job(0, 1), job(0, 1), job(0, 1), job(20, 1)]
    assert lanes_of("least-work-left", jobs, farm(1, 1))[:4] == [0, 1, 1, 1]


def test_intervals_of_sizes_have_equal_work() -> None:
    jobs = poisson(5_000, 2.0, lambda chance: chance.lognormvariate(0.0, 1.5))
    found = lanes_of("size-intervals", jobs, farm(1, 1, 1, 1))
    work = [
        sum(each.seconds for each, at in zip(jobs, found, strict=True) if at == lane)
        for lane in range(4)
    ]
    assert max(work) < 1.2 * min(work)
    short = max(each.seconds for each, at in zip(jobs, found, strict=True) if at == 0)
    long = min(each.seconds for each, at in zip(jobs, found, strict=True) if at == 3)
    assert short < long


def test_ylem_takes_the_quantile_of_the_last_five_runs() -> None:
    jobs = [job(0, 1)] * 8
    ylem = YlemAsDescribed(LanePlay(jobs, farm(1, 1)), random.Random(1))
    assert ylem.expected_s(0) == 30.0
    jobs = [job(at, seconds, run=at) for at, seconds in enumerate([99, 1, 2, 3, 4, 5, 1])]
    ylem = YlemAsDescribed(LanePlay(jobs, farm(1, 1)), random.Random(1))
    for place in range(6):
        lane = ylem.choose(place, float(place))
        ylem.ended(place, lane, jobs[place].seconds)
    assert ylem.expected_s(6) == pytest.approx(4.2)


def test_ylem_as_described_keeps_classes_apart() -> None:
    jobs = [
        job(200.0 * at, 100.0 if at % 2 else 1.0, run=at, pipeline=f"p{at % 2}") for at in range(40)
    ]
    found = lanes_of("ylem-described", jobs, farm(*[1] * 10))
    assert {lane for at, lane in enumerate(found) if at % 2} <= set(range(6))
    # The first of a pipeline counts as slow.
    assert {lane for at, lane in enumerate(found) if not at % 2 and at} <= set(range(6, 10))


def test_ylem_keeps_a_run_in_its_lane() -> None:
    jobs: list[PlayedJob] = []
    for run in range(30):
        first = len(jobs)
        jobs += [
            job(run, 1, run=run, stages_left=3),
            job(run, 1, run=run, after=first, stages_left=2),
            job(run, 1, run=run, after=first + 1),
        ]
    for name in ("ylem-described", "ylem-coded"):
        found = lanes_of(name, jobs, farm(*[2] * 10))
        assert all(len(set(found[at : at + 3])) == 1 for at in range(0, 90, 3))


def test_ylem_as_coded_gives_slow_runs_what_is_left_after_the_emptiest() -> None:
    jobs = [job(0, 1, run=run, pipeline=f"p{run}") for run in range(10)]
    # Each costs 30 s, as nothing is known of it. So the fullest six buckets after the first four
    # are used one after the other; the four full ones are never reached.
    found = lanes_of("ylem-coded", jobs, farm(*[1] * 10))
    assert len(set(found[:6])) == 6
    assert len(set(found)) == 6


def test_what_was_pushed_stays_with_a_worker_that_is_gone() -> None:
    faults = (
        WorkerFault(at_s=1, worker=0, slowness=None),
        WorkerFault(at_s=60, worker=0, slowness=1.0),
    )
    gone = Farm(slots=(1,), delay_s=0, faults=faults)
    played = play_classical("random", [job(0, 10), job(0.5, 2), job(2, 2)], gone, 1)
    assert played.started == [60, 70, 72]
    assert played.lost_s == 1


def test_a_straggler_takes_longer_for_what_it_starts() -> None:
    slow = Farm(slots=(1,), delay_s=0.5, faults=(WorkerFault(at_s=1, worker=0, slowness=5.0),))
    played = play_classical("random", [job(0, 2), job(0, 2)], slow, 1)
    assert played.started == [0.5, 2.5]
    assert played.ended == [2.5, 12.5]
