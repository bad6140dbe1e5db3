"""Decides that the demo's count notices each way to lose a job, and to do one twice."""

from bench.demo.count import EndFact, counted
from control.model.states import Outcome

RUNS = {7: 1, 8: 2}
DONE = {7: 1, 8: 2}
FACTS = [(1, 1, Outcome.DONE), (2, 1, Outcome.DONE), (3, 1, Outcome.DONE)]
LINES = ["began 1 1", "began 2 1", "ended 1 1", "began 3 1", "ended 2 1", "ended 3 1"]


def facts(*ends: tuple[int, int, Outcome]) -> list[EndFact]:
    return [
        EndFact(job=job, attempt=attempt, outcome=outcome, pipeline="p", wait_s=0.0, ready_ms=0)
        for job, attempt, outcome in ends
    ]


def test_all_that_is_done_once_keeps_the_promise() -> None:
    count = counted(RUNS, DONE, facts(*FACTS), LINES)
    assert (count.submitted, count.done, count.results, count.with_result) == (3, 3, 3, 3)
    assert (count.attempts, count.succeeded, count.interrupted, count.redone) == (3, 3, 0, 0)
    assert count.promise_holds


def test_an_attempt_that_failed_and_one_whose_worker_was_lost_are_no_doubles() -> None:
    ends = facts((1, 1, Outcome.FAILED), (1, 2, Outcome.DONE), (2, 1, Outcome.LOST))
    ends += facts((2, 2, Outcome.DONE), (3, 1, Outcome.DONE))
    lines = ["began 1 1", "began 1 2", "ended 1 2", "began 2 1", *LINES[3:4], "began 2 2"]
    count = counted(RUNS, DONE, ends, [*lines, "ended 2 2", "ended 3 1"])
    assert (count.failed, count.interrupted, count.redone, count.attempts) == (1, 1, 0, 5)
    assert count.promise_holds


def test_work_that_ended_just_before_its_worker_was_lost_is_told_of_but_counts_once() -> None:
    ends = facts(*FACTS, (1, 2, Outcome.LOST))
    count = counted(RUNS, DONE, ends, [*LINES, "began 1 2", "ended 1 2"])
    assert (count.interrupted, count.redone) == (1, 1)
    assert count.promise_holds


def test_a_job_is_lost_that_the_state_has_not_done() -> None:
    assert counted(RUNS, {7: 1, 8: 1}, facts(*FACTS), LINES).lost == 1
    assert counted(RUNS, {8: 2}, facts(*FACTS), LINES).lost == 1


def test_a_job_is_lost_that_has_no_result() -> None:
    count = counted(RUNS, DONE, facts(*FACTS[:2]), LINES)
    assert count.lost == 1
    assert not count.promise_holds


def test_a_job_is_lost_that_was_said_to_be_done_and_never_ended() -> None:
    assert counted(RUNS, DONE, facts(*FACTS), LINES[:-1]).lost == 1


def test_two_results_of_a_job_are_twice() -> None:
    ends = facts(*FACTS, (1, 2, Outcome.DONE))
    count = counted(RUNS, DONE, ends, [*LINES, "began 1 2", "ended 1 2"])
    assert (count.lost, count.twice) == (0, 1)
    assert not count.promise_holds


def test_an_attempt_that_is_executed_twice_is_twice() -> None:
    assert counted(RUNS, DONE, facts(*FACTS), [*LINES, "began 1 1"]).twice == 1


def test_an_attempt_that_is_in_no_record_is_twice() -> None:
    assert counted(RUNS, DONE, facts(*FACTS), [*LINES, "began 1 2"]).twice == 1


def test_a_run_that_was_accepted_again_is_twice() -> None:
    assert counted(RUNS, {**DONE, 9: 1}, facts(*FACTS), LINES).twice == 1
