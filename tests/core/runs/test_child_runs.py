"""Decides which run an attempt at a job of the kind `Pipeline` waits for."""

import pytest
from msgspec import Raw

from control.core.runs.child_runs import Choice, choose, portions
from control.model import limits
from control.model.bus.child_messages import StartChild, StopChild
from control.model.bus.records import Delivery
from control.model.names import Topic
from control.model.numbers import JobId, RunId
from control.model.states import State

START = StartChild(
    run_id=RunId(1),
    job_id=JobId(1),
    attempt=1,
    pipeline="p",
    name="a",
    kind="Pipeline",
    client="ann",
    input=Raw(b"null"),
)
STOP = StopChild(
    run_id=RunId(1),
    job_id=JobId(1),
    attempt=1,
    pipeline="p",
    name="a",
    kind="Pipeline",
    client="ann",
    reason="why",
)


@pytest.mark.parametrize(
    ("state", "ending", "attempt", "same", "choice"),
    [
        # Of the attempt before no end is known: it was lost.
        (State.IN_PROGRESS, False, 3, True, Choice.TAKE),
        (State.CANCELLED, False, 3, False, Choice.TAKE),
        # It failed, was cancelled, or timed out.
        (State.ERROR, False, 2, True, Choice.RETRY),
        (State.CANCELLED, False, 2, True, Choice.RETRY),
        (State.ERROR, False, 2, False, Choice.NEW),
        (State.IN_PROGRESS, True, 2, True, Choice.LATER),
        (State.IN_PROGRESS, True, 2, False, Choice.LATER),
        # Its run was retried by hand meanwhile.
        (State.IN_PROGRESS, False, 2, True, Choice.TAKE),
        (State.DONE, False, 2, True, Choice.TAKE),
        (State.DONE, False, 2, False, Choice.NEW),
    ],
)
def test_which_run_an_attempt_waits_for(
    state: State, ending: bool, attempt: int, same: bool, choice: Choice
) -> None:
    found = choose(state, ending=ending, attempt=attempt, ended_attempt=2, same=same)
    assert found == choice


def delivery(offset: int, message: StartChild | StopChild) -> Delivery:
    return Delivery(message, Topic.TASK_RUN_EVENTS, 0, offset)


def test_a_portion_starts_a_bounded_number_of_child_runs() -> None:
    starts = [delivery(at, START) for at in range(limits.PUBLISH_PORTION_MAX + 1)]
    found = [*starts[:-1], delivery(limits.PUBLISH_PORTION_MAX, STOP), starts[-1]]
    assert [len(each) for each in portions(found)] == [limits.PUBLISH_PORTION_MAX, 2]
    assert [each for portion in portions(found) for each in portion] == found
    assert list(portions([])) == []
