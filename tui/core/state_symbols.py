"""Owns the signs of states and what they look like; a state is never told by colour alone."""

from collections.abc import Mapping
from typing import Final

from control.model.api.views import RunView
from control.model.states import FINAL, State
from tui.core.spans import Line, Look, Span

PAUSED: Final = "‖"
OVER: Final = "▲"
LATE: Final = "!"
CRITICAL: Final = "◆"
CURSOR: Final = "▸"
SKIPPED: Final = "×"
BEFORE: Final = "\u2039"
AFTER: Final = "\u203a"
WORK: Final = "█"
FREE: Final = "░"
EARLIER: Final = "▓"
PARTLY: Final = "▒"
UNPLANNED: Final = "┄"

STATE_SIGNS: Final[Mapping[State, str]] = {
    State.READY: "○",
    State.IN_PROGRESS: "●",
    State.DONE: "✓",
    State.ERROR: "✗",
    State.CANCELLED: "⊘",
}
_LOOKS: Final[Mapping[State, Look]] = {
    State.READY: "dim",
    State.IN_PROGRESS: "accent",
    State.DONE: "good",
    State.ERROR: "bad",
    State.CANCELLED: "warn",
}


def look_of(state: State) -> Look:
    """The role of whatever tells this state."""
    return _LOOKS[state]


def sign(state: State) -> Span:
    """The sign of a state."""
    return STATE_SIGNS[state], _LOOKS[state]


def together(counts: Mapping[State, int]) -> State:
    """The state in which several jobs are together: the one that an operator must hear of."""
    found = {state for state, jobs in counts.items() if jobs > 0}
    for state in (State.ERROR, State.IN_PROGRESS):
        if state in found:
            return state
    if State.READY in found:
        return State.IN_PROGRESS if State.DONE in found else State.READY
    if State.CANCELLED in found:
        return State.CANCELLED
    return State.DONE if found else State.READY


def stage_signs(run: RunView) -> Line:
    """One sign for each of a run's stages: `✓✓●○○`."""
    return tuple(sign(together(stage.counts)) for stage in run.stages)


def ends_of(run: RunView) -> str:
    """How the jobs of a run ended that did not end well: `✗1 ⊘43`, `!1` where it was allowed."""
    told = []
    for state in (State.ERROR, State.CANCELLED):
        jobs = sum(stage.counts.get(state, 0) for stage in run.stages)
        allowed = run.allowed_failures if state == State.ERROR else 0
        if jobs - allowed > 0:
            told.append(f"{STATE_SIGNS[state]}{jobs - allowed}")
        if allowed:
            told.append(f"!{allowed}")
    return " ".join(told)


def done_of(run: RunView) -> tuple[int, int]:
    """How many of a run's jobs have ended, and how many there are."""
    ended = every = 0
    for stage in run.stages:
        every += sum(stage.counts.values())
        ended += sum(jobs for state, jobs in stage.counts.items() if state in FINAL)
    return ended, every
