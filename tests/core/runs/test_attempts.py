"""Decides what the numbers, times, and ends of attempts are after restores and set clocks."""

import msgspec

from control.core.runs.advance import Advance
from control.core.runs.attempts import is_answered_for
from control.model.states import Outcome, State
from tests.core.runs.advancing import again, begin, end, job, names, result, row, start


def test_times_of_a_run_never_go_back_though_the_clock_does() -> None:
    step = start(job("a1"), job("a2"), job("b1", "b"))
    step = again(step, 5_000)
    late = msgspec.structs.replace(begin(step, "a1"), started_ms=5_000)
    assert step.started(late)
    # The clock is set back: the end, by the dispatcher's clock, seems to be before the start.
    step = again(step, 3_000)
    ended = msgspec.structs.replace(result(step, "a1"), started_ms=3_000, finished_ms=3_000)
    assert step.finished(ended, jitter=0.0)
    step.settle()
    assert row(step, "a1").finished_ms == 5_000
    step = end(again(step, 3_000), "a2")
    assert row(step, "b1").ready_ms == 5_000
    step = again(step, 3_000)
    assert step.started(msgspec.structs.replace(begin(step, "b1"), started_ms=6_000))
    step = again(step, 3_000)
    step.cancel("by order")
    step.settle()
    assert (row(step, "b1").finished_ms, step.run.finished_ms) == (6_000, 6_000)


def test_a_retry_is_never_ready_before_its_run_was_made() -> None:
    step = end(start(job("a1", retry_attempt=1, retry_delay=1)), "a1", Outcome.FAILED)
    step = Advance(step.run, step.graph, 500, steady_ms=10_000_000)
    step.release_due()
    assert row(step, "a1").ready_ms == step.run.created_ms


def test_a_refused_end_of_a_cancelled_job_is_answered_for() -> None:
    step = again(start(job("a1"), job("a2")))
    assert step.started(begin(step, "a1"))
    step.cancel("by order")
    for outcome in (Outcome.DONE, Outcome.FAILED, Outcome.LOST):
        refused = result(step, "a1", outcome)
        assert not step.finished(refused, jitter=0.0)
        assert is_answered_for(row(step, "a1"), refused)
    # What says so itself, and what was said when it was cancelled before it began.
    assert not is_answered_for(row(step, "a1"), result(step, "a1", Outcome.CANCELLED))
    assert not is_answered_for(row(step, "a2"), result(step, "a2", Outcome.LOST))


def test_after_a_restore_no_open_job_keeps_its_number() -> None:
    step = again(start(job("a1"), job("b1", "b")))
    step.restart(lambda attempt: 2_000 + attempt)
    assert [each.attempt for each in step.run.jobs] == [2_001, 2_001]
    assert names(step, step.released) == ["a1"]  # The other one still waits for it.
    step.settle()
    assert end(end(step, "a1"), "b1").run.state == State.DONE


def test_a_retry_by_hand_after_a_restore_repeats_no_number() -> None:
    step = again(end(start(job("a1")), "a1", Outcome.FAILED))
    step.retry(epoch=2)
    assert row(step, "a1").attempt == 2_002
