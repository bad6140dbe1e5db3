"""Decides which state may follow which: the one table, also drawn in docs/design.md."""

from enum import StrEnum
from typing import Final

from control.model.errors import IllegalTransition
from control.model.states import State


class LifecycleEvent(StrEnum):
    """What can happen to a job or a run."""

    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    REPEAT = "repeat"  # A retry is due, or its worker was lost.
    CANCEL = "cancel"
    RETRY = "retry"  # By hand.


JOB: Final[dict[State, dict[LifecycleEvent, State]]] = {
    State.READY: {LifecycleEvent.START: State.IN_PROGRESS, LifecycleEvent.CANCEL: State.CANCELLED},
    State.IN_PROGRESS: {
        LifecycleEvent.SUCCEED: State.DONE,
        LifecycleEvent.FAIL: State.ERROR,
        LifecycleEvent.REPEAT: State.READY,
        LifecycleEvent.CANCEL: State.CANCELLED,
    },
    State.DONE: {},  # Final: nothing may follow.
    State.ERROR: {LifecycleEvent.RETRY: State.READY},
    State.CANCELLED: {LifecycleEvent.RETRY: State.READY},
}

RUN: Final[dict[State, dict[LifecycleEvent, State]]] = {
    State.READY: {
        LifecycleEvent.START: State.IN_PROGRESS,
        LifecycleEvent.SUCCEED: State.DONE,  # Every job was skipped.
        LifecycleEvent.FAIL: State.ERROR,  # It timed out before anything began.
        LifecycleEvent.CANCEL: State.CANCELLED,
    },
    State.IN_PROGRESS: {
        LifecycleEvent.SUCCEED: State.DONE,
        LifecycleEvent.FAIL: State.ERROR,
        LifecycleEvent.CANCEL: State.CANCELLED,
    },
    State.ERROR: {LifecycleEvent.RETRY: State.IN_PROGRESS},
    State.CANCELLED: {LifecycleEvent.RETRY: State.IN_PROGRESS},
}


def after(
    table: dict[State, dict[LifecycleEvent, State]], state: State, event: LifecycleEvent
) -> State:
    """The state that follows; raises `IllegalTransition` and changes nothing."""
    try:
        return table[state][event]
    except KeyError:
        raise IllegalTransition(f"a job or run that is {state} cannot {event}") from None
