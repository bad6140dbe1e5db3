"""Decides which jobs are slow, and that every change of class is recorded with its reason."""

from control.core.balancer.balancer import Balancer
from control.core.balancer.classes import Classes
from control.core.balancer.estimates import Estimates
from control.core.balancer.policy import Assignment, Policy
from control.core.balancer.slow_threshold import Threshold
from control.model.states import Speed
from tests.core.balancer.balancing import finished, ready, worker

KEY = ("p", "j")


def learned(classes: Classes, estimates: Estimates, seconds: float, times: int) -> list[bool]:
    found = []
    for at in range(times):
        estimates.learn(KEY, seconds)
        found.append(classes.learned(KEY, at))
    return found


def test_a_class_changes_once_with_its_reason() -> None:
    estimates = Estimates()
    classes = Classes(estimates, Threshold(10.0))
    assert not any(learned(classes, estimates, 0.01, 64))  # The first class is no change.
    assert sum(learned(classes, estimates, 60.0, 64)) == 1
    (change,) = classes.changed
    assert (change.pipeline, change.name, change.speed) == ("p", "j", Speed.SLOW)
    assert change.expected_s >= 10.0
    assert change.threshold_s == 10.0
    assert change.reason == f"its jobs are expected to take {change.expected_s:.3g} s now"


def test_one_that_wavers_about_the_threshold_keeps_its_class() -> None:
    estimates = Estimates()
    threshold = Threshold(10.0)
    classes = Classes(estimates, threshold)
    learned(classes, estimates, 9.0, 64)
    first = estimates.expected(KEY)
    for factor in (1.05, 0.95, 1.08, 0.92):
        threshold.seconds = first * factor
        classes.learned(KEY, 0)
        assert classes.speed(KEY, first) == Speed.FAST
    assert not classes.changed
    assert classes.speed(("other", "j"), 1.01 * threshold.seconds) == Speed.SLOW


def test_a_threshold_that_moves_is_told_as_the_reason() -> None:
    estimates = Estimates()
    threshold = Threshold(None)
    classes = Classes(estimates, threshold)
    learned(classes, estimates, 5.0, 8)
    threshold.seconds = 1.0
    assert classes.learned(KEY, 7)
    (change,) = classes.last
    assert change.reason == "the threshold moved from 30 to 1 s"
    assert (change.speed, change.at_ms) == (Speed.SLOW, 7)


def test_the_balancer_tells_each_change_once_and_shows_the_last() -> None:
    balancer = Balancer(Policy(partitions=4))
    balancer.worker_up(worker("w", 4, balancer))
    made = Assignment(ready(1), 0, 0, "w", Speed.FAST, 1.0)
    for seconds in (0.01, 0.01, 0.01, 600.0, 600.0, 600.0):
        balancer.finished(finished(made, seconds), 1000)
    (change,) = balancer.take_changes()
    assert change.speed == Speed.SLOW
    assert balancer.take_changes() == []
    for _ in range(200):
        balancer.finished(finished(made, 0.01), 2000)
    (back,) = balancer.take_changes()
    assert back.speed == Speed.FAST
    assert balancer.rules().changes == (back, change)
