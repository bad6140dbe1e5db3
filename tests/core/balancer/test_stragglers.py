"""Decides who is found to be a straggler, when, and when no more."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.core.balancer.stragglers import StragglerDetector

FIVE = math.log(5.0)


def all_end(
    health: StragglerDetector, workers: dict[str, float], times: int, now_ms: int = 0
) -> None:
    for _ in range(times):
        for name, log_ratio in workers.items():
            health.ended(name, log_ratio, 0.3, now_ms)


def test_a_worker_five_times_slower_is_found_within_ten_ends_of_its_own() -> None:
    health = StragglerDetector()
    workers = dict.fromkeys("abcd", 0.0)
    all_end(health, workers, 20)
    assert not health.slowness
    all_end(health, {**workers, "a": FIVE}, 10)
    assert set(health.slowness) == {"a"}
    assert 2.5 < health.slowness["a"] <= 5.0


def test_how_slow_it_is_is_told_again_as_it_becomes_clear() -> None:
    health = StragglerDetector()
    workers = dict.fromkeys("abcd", 0.0)
    all_end(health, workers, 20)
    told: list[float] = []
    for _ in range(40):
        for name in workers:
            before = dict(health.slowness)
            if health.ended(name, FIVE if name == "a" else 0.0, 0.3, 0):
                told.append(health.slowness["a"])
            else:
                assert health.slowness == before
    assert len(told) > 1
    assert all(later / earlier > 1.1 for earlier, later in itertools.pairwise(told))
    assert told[-1] == pytest.approx(5.0, rel=0.1)


def test_it_is_forgiven_once_it_is_plainly_well() -> None:
    health = StragglerDetector()
    workers = dict.fromkeys("abcd", 0.0)
    all_end(health, {**workers, "a": FIVE}, 20)
    assert health.slowness["a"] == pytest.approx(5.0, rel=0.15)  # Told to a tenth.
    all_end(health, workers, 10)
    assert not health.slowness


def test_what_is_known_of_it_fades_so_that_it_is_tried_again() -> None:
    health = StragglerDetector()
    workers = dict.fromkeys("abcd", 0.0)
    all_end(health, {**workers, "a": FIVE}, 20)
    others = {name: ratio for name, ratio in workers.items() if name != "a"}
    all_end(health, others, 8, now_ms=3_600_000)  # It had nothing to do for an hour.
    assert not health.slowness


@pytest.mark.parametrize("workers", ["a", "abcd"])
def test_a_pipeline_that_is_slower_everywhere_makes_nobody_a_straggler(workers: str) -> None:
    health = StragglerDetector()
    all_end(health, dict.fromkeys(workers, FIVE), 40)
    assert not health.slowness


def test_one_that_wavers_between_the_limits_stays_what_it_was() -> None:
    health = StragglerDetector()
    workers = dict.fromkeys("abcd", 0.0)
    all_end(health, {**workers, "a": 0.8}, 40)
    assert not health.slowness
    all_end(health, {**workers, "a": FIVE}, 40)
    all_end(health, {**workers, "a": 0.8}, 40)
    assert set(health.slowness) == {"a"}


def test_few_ends_prove_nothing() -> None:
    health = StragglerDetector()
    all_end(health, dict.fromkeys("bcd", 0.0), 20)
    for _ in range(5):
        health.ended("a", 5.0, 0.3, 0)
    all_end(health, dict.fromkeys("bcd", 0.0), 20)
    assert not health.slowness


def test_one_that_is_gone_is_forgotten() -> None:
    health = StragglerDetector()
    all_end(health, {"a": FIVE, "b": 0.0, "c": 0.0}, 20)
    assert set(health.slowness) == {"a"}
    health.forget("a")
    health.forget("nobody")
    assert not health.slowness
    all_end(health, {"b": 0.0, "c": 0.0}, 20)
    assert not health.slowness


@given(
    ends=st.lists(
        st.tuples(
            st.sampled_from("abcde"), st.floats(-9, 9), st.floats(0, 5), st.integers(0, 10**7)
        ),
        max_size=300,
    )
)
def test_at_most_half_are_stragglers_and_all_of_them_are_slower(
    ends: list[tuple[str, float, float, int]],
) -> None:
    health = StragglerDetector()
    for name, log_ratio, sd, now_ms in ends:
        before = dict(health.slowness)
        changed = health.ended(name, log_ratio, sd, now_ms)
        assert changed == (health.slowness != before)
        assert all(times > 2.0 for times in health.slowness.values())
        assert len(health.slowness) <= 2
