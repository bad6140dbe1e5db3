"""Decides which run an attempt at a job of the kind `Pipeline` waits for."""

import pytest

from control.core.child_runs import Choice, choose
from control.model.states import State


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
        (State.IN_PROGRESS, True, 2, True, Choice.BUSY),
        (State.IN_PROGRESS, True, 2, False, Choice.BUSY),
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
