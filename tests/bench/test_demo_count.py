"""Decides that the demo's count notices each way to lose a job, and to do one twice."""

from collections.abc import Mapping, Sequence

import pytest

from bench.demo.count import BEGAN, ENDED, DemoCount, EndFact, counted
from control.model.states import Outcome

WORDS = (BEGAN, ENDED)
RUNS = {7: 1, 8: 2}
DONE = {7: 1, 8: 2}
FACTS = [(1, 1, "done", "w1"), (2, 1, "done", "w1"), (3, 1, "done", "w2")]
LINES = [
    *("began 1 1 w1", "began 2 1 w1", "ended 1 1 w1"),
    *("began 3 1 w2", "ended 2 1 w1", "ended 3 1 w2"),
]


def count(
    facts: Sequence[tuple[int, int, str, str]] = FACTS,
    lines: Sequence[str] = LINES,
    done: Mapping[int, int] = DONE,
) -> DemoCount:
    """Of three jobs in two runs; w2 was killed."""
    ends = [
        EndFact(
            job=job,
            attempt=attempt,
            outcome=Outcome(outcome),
            worker=worker,
            pipeline="p",
            wait_s=0.0,
            ready_ms=0,
        )
        for job, attempt, outcome, worker in facts
    ]
    return counted(RUNS, done, ends, lines, {"w2"})


def test_all_that_is_done_once_keeps_the_promise() -> None:
    found = count()
    assert (found.submitted, found.done, found.results, found.with_result) == (3, 3, 3, 3)
    assert (found.executions, found.succeeded, found.interrupted, found.redone) == (3, 3, 0, 0)
    assert found.promise_holds


def test_an_attempt_that_failed_and_one_whose_worker_was_lost_are_no_doubles() -> None:
    facts = [(1, 1, "failed", "w1"), (2, 1, "lost", "w2"), (1, 2, "done", "w1")]
    facts += [(2, 2, "done", "w1"), (3, 1, "done", "w1")]
    lines = ["began 1 1 w1", "began 2 1 w2", "began 3 1 w1", "ended 3 1 w1"]
    found = count(facts, [*lines, *(f"{word} {job} 2 w1" for job in (1, 2) for word in WORDS)])
    assert (found.failed, found.interrupted, found.redone) == (1, 1, 0)
    assert (found.executions, found.succeeded) == (5, 3)
    assert found.promise_holds


def test_work_that_ended_just_before_its_worker_was_lost_may_be_done_again() -> None:
    facts = [*FACTS[:2], (3, 1, "lost", "w2"), (3, 2, "done", "w1")]
    found = count(facts, [*LINES, "began 3 2 w1", "ended 3 2 w1"])
    assert (found.interrupted, found.redone) == (1, 1)
    assert found.promise_holds


def test_so_it_may_under_the_same_number_if_nobody_knew_that_it_had_begun() -> None:
    found = count([*FACTS[:2], (3, 1, "done", "w1")], [*LINES, "began 3 1 w1", "ended 3 1 w1"])
    assert (found.executions, found.succeeded, found.interrupted, found.redone) == (4, 3, 1, 1)
    assert found.promise_holds


def test_a_job_is_lost_that_the_state_has_not_done() -> None:
    assert count(done={7: 1, 8: 1}).lost == 1
    assert count(done={8: 2}).lost == 1


def test_a_job_is_lost_that_has_no_result() -> None:
    found = count(FACTS[:2])
    assert found.lost == 1
    assert not found.promise_holds


def test_a_job_is_lost_that_is_done_but_never_ended() -> None:
    assert count(lines=LINES[:-1]).lost == 1


def test_two_results_of_a_job_are_twice() -> None:
    found = count([*FACTS, (1, 2, "done", "w1")], [*LINES, "began 1 2 w1", "ended 1 2 w1"])
    assert (found.lost, found.twice) == (0, 1)
    assert not found.promise_holds


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("began 1 1 w1", id="an attempt executed twice by its worker"),
        pytest.param("began 1 1 w3", id="an attempt executed by two workers that live"),
        pytest.param("began 3 1 w1", id="an attempt executed again after its result counted"),
        pytest.param("began 1 2 w1", id="an attempt that is in no record"),
    ],
)
def test_twice_is(line: str) -> None:
    assert count(lines=[*LINES, line]).twice == 1


def test_a_run_that_was_accepted_again_is_twice() -> None:
    assert count(done={**DONE, 9: 1}).twice == 1
