"""Decides that `when: always` runs after a cancellation or time-out, and how the run ends then."""

import pytest

from control.core.runs.advance import Advance
from control.model.bus.messages import Started
from control.model.errors import Conflict
from control.model.numbers import RunId
from control.model.states import Outcome, State
from tests.core.runs.advancing import again, job, result, row, start


def cleaning(**settings: object) -> Advance:
    """A run whose first job is at work, with clean-up after it and a job that nobody gets to."""
    step = start(
        job("work"),
        job("next", stage="b"),
        job("wipe", stage="c", when="always"),
        job("report", stage="d", when="always"),
        job("alarm", stage="d", when="on_failure"),
        **settings,  # type: ignore[arg-type]
    )
    step.settle()
    step = again(step)
    found = row(step, "work")
    assert step.started(
        Started(
            run_id=RunId(7), job_id=found.id, attempt=1, worker="w", partition=0, started_ms=1_500
        )
    )
    return again(step)


def states(step: Advance) -> dict[str, str]:
    return {name: row(step, name).state.value for name in step.graph.index}


@pytest.mark.parametrize("timed_out", [False, True])
def test_clean_up_runs_after_a_cancellation_or_a_time_out(timed_out: bool) -> None:
    step = cleaning(timeout=5.0)
    if timed_out:
        step.time_out()
    else:
        step.cancel("cancelled by ann")
    reason = step.run.reason
    assert [each.id for each in step.stopped] == [row(step, "work").id]
    step.settle()
    assert step.run.state == State.IN_PROGRESS
    assert step.run.deadline_ms is None
    assert [each.id for each in step.released] == [row(step, "wipe").id]
    for name in ("wipe", "report"):
        step = again(step)
        step.finished(result(step, name), jitter=0)
        step.settle()
    assert states(step) == {
        "work": "CANCELLED",
        "next": "CANCELLED",
        "wipe": "DONE",
        "report": "DONE",
        "alarm": "CANCELLED",
    }
    assert step.run.state == (State.ERROR if timed_out else State.CANCELLED)
    assert (step.run.reason, step.run.ending) == (reason, None)
    assert step.ended


def test_clean_up_that_fails_changes_nothing_about_how_the_run_ends() -> None:
    step = cleaning()
    step.cancel("cancelled by ann")
    step.settle()
    step = again(step)
    step.finished(result(step, "wipe", Outcome.FAILED), jitter=0)
    step.settle()
    step = again(step)
    step.finished(result(step, "report"), jitter=0)
    step.settle()
    assert (step.run.state, step.run.reason) == (State.CANCELLED, "cancelled by ann")


def test_clean_up_can_be_cancelled_as_well() -> None:
    step = cleaning()
    step.cancel("cancelled by ann")
    step.settle()
    step = again(step)
    step.cancel("cancelled by bob")
    assert step.run.state == State.CANCELLED
    assert set(states(step).values()) == {"CANCELLED"}
    with pytest.raises(Conflict):
        step.cancel("once more")


def test_a_run_that_was_broken_off_can_be_retried() -> None:
    step = cleaning()
    step.cancel("cancelled by ann")
    step.settle()
    for name in ("wipe", "report"):
        step = again(step)
        step.finished(result(step, name), jitter=0)
        step.settle()
    step = again(step)
    step.retry()
    step.settle()
    assert step.run.state == State.IN_PROGRESS
    assert row(step, "work").state == State.READY
