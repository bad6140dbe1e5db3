"""Decides that the central queues do what theory says of them."""

import math

import pytest

from bench.balancer.central import play_by_length, play_fifo, play_srpt
from control.core.simulation.workload import Farm, WorkerFault, work_s
from tests.bench.played import farm, job, mean, poisson


def erlang_c_wait(slots: int, load: float) -> float:
    """Mean wait of an M/M/k queue whose jobs take a second on average."""
    offered = slots * load
    below = sum(offered**k / math.factorial(k) for k in range(slots))
    full = offered**slots / math.factorial(slots) / (1 - load)
    return full / (below + full) / (slots * (1 - load))


@pytest.mark.parametrize(("workers", "load"), [(2, 0.7), (5, 0.8)])
def test_fifo_waits_as_erlang_says(workers: int, load: float) -> None:
    slots = 2 * workers
    waits = [
        # Waits depend on those before them: one long series says less than some short ones.
        mean(play_fifo(jobs, farm(*[2] * workers)).waits())
        for seed in range(12)
        for jobs in [poisson(20_000, slots * load, lambda chance: chance.expovariate(1.0), seed)]
    ]
    assert mean(waits) == pytest.approx(erlang_c_wait(slots, load), rel=0.08)


def test_two_classes_wait_as_cobham_says() -> None:
    # One slot; short jobs are always before long ones, when age weighs nothing beside length.
    jobs = poisson(60_000, 0.5, lambda chance: 0.5 if chance.random() < 0.5 else 2.5)
    lengths = [1e9 * each.seconds for each in jobs]
    waits = play_by_length(jobs, farm(1), lengths).waits()
    residual = 0.5 * (0.5 * 0.25 + 0.5 * 6.25) / 2
    short_load, load = 0.5 * 0.5 * 0.5, 0.5 * 1.5
    short = [wait for wait, each in zip(waits, jobs, strict=True) if each.seconds < 1]
    long = [wait for wait, each in zip(waits, jobs, strict=True) if each.seconds > 1]
    assert mean(short) == pytest.approx(residual / (1 - short_load), rel=0.1)
    assert mean(long) == pytest.approx(residual / ((1 - short_load) * (1 - load)), rel=0.1)


def test_srpt_responds_sooner_than_what_does_not_interrupt() -> None:
    jobs = poisson(20_000, 3.2, lambda chance: chance.lognormvariate(-1.0, 1.4))
    slots = farm(2, 1)
    sizes = [each.seconds for each in jobs]

    def response(ready: list[float], ended: list[float]) -> float:
        return mean([end - begin for begin, end in zip(ready, ended, strict=True)])

    srpt, fifo = play_srpt(jobs, slots), play_fifo(jobs, slots)
    sized = play_by_length(jobs, slots, sizes)
    ours, middle, last = (response(each.ready, each.ended) for each in (srpt, sized, fifo))
    assert ours < middle < last
    assert min(srpt.waits()) > -1e-6
    # The same work on the same slots.
    assert max(srpt.ended) >= work_s(jobs) / slots.total


def test_srpt_interrupts_the_longest() -> None:
    jobs = [job(0, 10), job(0, 4), job(1, 1)]
    played = play_srpt(jobs, farm(2))
    assert played.ended == [11, 4, 2]


def test_a_stage_is_ready_when_the_one_before_it_has_ended() -> None:
    jobs = [job(0, 2, run=1, stages_left=2), job(0, 3, run=1, after=0), job(1, 1, run=2)]
    for played in (
        play_fifo(jobs, farm(1)),
        play_by_length(jobs, farm(1), [1.0] * 3),
        play_srpt(jobs, farm(1)),
    ):
        assert played.ready == [0, 2, 1]
        assert played.started[1] >= 2
        assert max(played.ended) == 6


def test_what_a_worker_had_runs_again_elsewhere_when_it_goes() -> None:
    faults = (WorkerFault(at_s=1, worker=1, slowness=None),)
    gone = Farm(slots=(1, 1), delay_s=0, grace_s=3, faults=faults)
    jobs = [job(0, 10), job(0, 2), job(2, 1)]
    played = play_fifo(jobs, gone)
    assert played.lost_s == 1
    # The second is hoped for until 4 s; then it keeps its place before the third.
    assert played.ended == [10, 12, 13]


def test_slots_of_a_straggler_are_taken_last() -> None:
    slow = Farm(slots=(1, 1), delay_s=0, faults=(WorkerFault(at_s=0, worker=0, slowness=5.0),))
    played = play_by_length([job(1, 1), job(3, 1), job(3.5, 1)], slow, [1.0] * 3)
    assert played.ended == [2, 4, 8.5]
