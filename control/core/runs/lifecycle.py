"""Decides which state may follow which: the one table, also drawn in docs/design.md."""

from enum import StrEnum
from typing import Final

from control.model.errors import IllegalTransition
from control.model.states import State


class Event(StrEnum):
    """What can happen to a job or a run."""

    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    REPEAT = "repeat"  # A retry is due, or its worker was lost.
    CANCEL = "cancel"
    RETRY = "retry"  # By hand.


JOB: Final[dict[State, dict[Event, State]]] = {
    State.READY: {Event.START: State.IN_PROGRESS, Event.CANCEL: State.CANCELLED},
    State.IN_PROGRESS: {
        Event.SUCCEED: State.DONE,
        Event.FAIL: State.ERROR,
        Event.REPEAT: State.READY,
        Event.CANCEL: State.CANCELLED,
    },
    State.DONE: {},  # Final: nothing may follow.
    State.ERROR: {Event.RETRY: State.READY},
    State.CANCELLED: {Event.RETRY: State.READY},
}

RUN: Final[dict[State, dict[Event, State]]] = {
    State.READY: {
        Event.START: State.IN_PROGRESS,
        Event.SUCCEED: State.DONE,  # Every job was skipped.
        Event.FAIL: State.ERROR,  # It timed out before anything began.
        Event.CANCEL: State.CANCELLED,
    },
    State.IN_PROGRESS: {
        Event.SUCCEED: State.DONE,
        Event.FAIL: State.ERROR,
        Event.CANCEL: State.CANCELLED,
    },
    State.ERROR: {Event.RETRY: State.IN_PROGRESS},
    State.CANCELLED: {Event.RETRY: State.IN_PROGRESS},
}


def after(table: dict[State, dict[Event, State]], state: State, event: Event) -> State:
    """The state that follows; raises `IllegalTransition` and changes nothing."""
    try:
        return table[state][event]
    except KeyError:
        raise IllegalTransition(f"a job or run that is {state} cannot {event}") from None
