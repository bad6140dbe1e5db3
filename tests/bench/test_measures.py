"""Decides what measures say of a case that can be checked by hand."""

import pytest

from bench.balancer.goals import reached
from bench.balancer.measures import Measures, geometric_mean, measured, over_seeds, ratio
from control.core.simulation.workload import Played
from tests.bench.played import farm, job


def hand_made() -> Measures:
    jobs = [job(0, 0.5), job(0, 2), job(0, 40, client="bob"), job(10, 4, client="bob")]
    played = Played(ready=[0, 0, 0, 10], started=[0, 1, 3, 22], ended=[0.5, 3, 43, 26], lost_s=7.0)
    return measured(jobs, played, farm(2, 3), but_client="bob")


def test_measures_of_a_case_by_hand() -> None:
    found = hand_made()
    assert found.fast_mean == pytest.approx(13 / 3)
    assert (found.fast_p50, found.fast_p99) == (1, 12)
    assert found.others_p99 == 1
    assert (found.slow_mean, found.slow_p99, found.longest) == (3, 3, 12)
    slowdowns = [1, 1.5, 43 / 40, 4]
    assert found.slowdown == pytest.approx(sum(slowdowns) / 4)
    assert found.slowdown_p99 == 4
    ann, bob = 1.25, (43 / 40 + 4) / 2
    assert found.worst_client == pytest.approx(bob)
    assert found.jain == pytest.approx((ann + bob) ** 2 / (2 * (ann**2 + bob**2)))
    assert found.response == pytest.approx((0.5 + 3 + 43 + 16) / 4)
    assert found.utilisation == pytest.approx((46.5 + 7) / 50)


def test_seeds_and_workloads_are_put_together() -> None:
    one = hand_made()
    assert over_seeds([one, one]) == one
    assert geometric_mean([2, 8]) == pytest.approx(4)
    assert ratio(0.001, 0.0) == 1
    assert ratio(3, 2) == 1.5


def test_goals_are_judged_on_all_workloads_and_the_worst() -> None:
    one = hand_made()
    same = {"D1": one, "D9": one}
    rows = {row.title: row for row in reached({"ours": same, "fifo": same, "srpt": same})}
    assert rows["mean response / SRPT-k"].reached
    assert not rows["mean slowdown / central FIFO"].reached
    assert not rows["fast p99 wait of others in a flood / central FIFO"].reached
    assert "mean slowdown / true statistics" not in rows
    assert reached({"fifo": same}) == []
