"""Decides that synthetic workloads are what they promise: load, order, truths."""

import math
import random
from pathlib import Path

import pytest

from bench.balancer.recorded import recorded
from bench.balancer.sources import PipelineSource, truth_of
from bench.balancer.workloads import FAMILIES, FARM, NOISY, workload
from control.core.simulation.workload import Farm, work_s

JOBS = 3_000


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_workload_has_the_load_it_is_asked_for(name: str) -> None:
    made = workload(name, seed=1, jobs=JOBS, load=0.6)
    assert JOBS * 0.8 <= len(made.jobs) <= JOBS * 4
    load = work_s(made.jobs) / FARM.total / made.jobs[-1].at_s
    assert load == pytest.approx(0.6, rel=0.05)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_jobs_are_in_order_and_follow_earlier_ones(name: str) -> None:
    made = workload(name, seed=2, jobs=JOBS)
    times = [job.at_s for job in made.jobs]
    assert times == sorted(times)
    for place, job in enumerate(made.jobs):
        assert job.arrival_s == job.at_s
        assert job.stages_left >= 1
        if job.after is not None:
            assert job.after < place
            assert made.jobs[job.after].run == job.run
            assert made.jobs[job.after].stages_left == job.stages_left + 1
    assert len(made.means) == len(made.indexes) == len(made.jobs)
    assert min(made.indexes) > 0
    assert made == workload(name, seed=2, jobs=JOBS)
    assert made != workload(name, seed=3, jobs=JOBS)


def test_families_show_what_they_are_named_for() -> None:
    storms = workload("D8", seed=1, jobs=JOBS)
    assert {job.stages_left for job in storms.jobs} == {1, 2, 3, 4}
    failing = workload("D6", seed=1, jobs=JOBS)
    assert any(job.fails for job in failing.jobs)
    assert {fault.slowness for fault in failing.farm.faults} == {None, 1.0, 5.0}
    flood = [job for job in workload("D9", seed=1, jobs=JOBS).jobs if job.client == NOISY]
    assert flood[-1].at_s - flood[0].at_s < 450
    assert 0.9 < work_s(flood) / len(flood) < 1.1
    ci = workload("D3", seed=1, jobs=JOBS).jobs
    assert 0.5 < sum(job.seconds >= 30 for job in ci) / len(ci) < 0.8


def test_the_truth_of_a_source_is_that_of_what_it_draws() -> None:
    modes = [(0.75, -1.5, 0.5), (0.25, 1.5, 0.4)]
    chance, source = random.Random(1), PipelineSource("p", "c", 1.0, modes)
    drawn = [source.draw(chance, 0.0) for _ in range(40_000)]
    mean, index = truth_of(modes)
    assert mean == pytest.approx(sum(drawn) / len(drawn), rel=0.03)
    inverse = sum(1 / max(each, 0.1) for each in drawn) / len(drawn)
    assert index == pytest.approx(math.sqrt(mean / inverse), rel=0.03)


def test_a_source_that_turns_slower_is_known_as_such() -> None:
    source = PipelineSource("p", "c", 1.0, [(1.0, 0.0, 0.5)])
    source.turns = (0.4, 0.6, 60.0)
    before, during = source.truth(0.1), source.truth(0.5)
    assert during[0] == pytest.approx(60 * before[0], rel=0.05)
    assert source.truth(0.7) == before


def test_history_is_read_as_it_was_exported(tmp_path: Path) -> None:
    columns = "run_id,job_id,attempt,pipeline,job,stage,kind,client,outcome,final,ready_ms"
    rows = [
        f"{columns},duration_seconds,finished_ms",
        "1,11,1,7,build,s,Sleep,ann,done,true,1000,2.5,3500",
        "1,12,1,7,test,t,Sleep,ann,failed,true,3501,0.5,4001",
        "2,13,1,p,build,,Sleep,bob,cancelled,true,3000,,3000",
    ]
    path = tmp_path / "facts.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    made = recorded(path, Farm(slots=(1,)))
    assert [(job.pipeline, job.name, job.seconds, job.after) for job in made.jobs] == [
        ("7", "build", 2.5, None),
        ("7", "test", 0.5, 0),
    ]
    assert made.means == [2.5, 0.5]
