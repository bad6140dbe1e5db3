"""Decides what is seen of a run while it is waited for: bars on a terminal, or lines."""

import sys
from typing import TYPE_CHECKING, Final

import msgspec

from control.cli.client import Row
from control.cli.output.formats import SIGNS, Output
from control.model.api.views import StageView
from control.model.display_text import clean, seconds
from control.model.states import FINAL, State

if TYPE_CHECKING:
    from rich.progress import TaskID

_ORDER: Final = (State.IN_PROGRESS, State.READY, State.ERROR, State.CANCELLED)


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a run."""

    id: int
    pipeline: str
    state: State
    reason: str = ""
    stages: tuple[StageView, ...] = ()
    expected_seconds: float | None = None


class Bars:
    """A bar for each stage, on stderr; drawn when something changes, so it needs no thread."""

    def __init__(self, out: Output) -> None:
        from rich.progress import (  # noqa: PLC0415 - 50 ms that a pipe need not wait for.
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
        )

        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            console=out.console(sys.stderr),
            auto_refresh=False,
        )
        self._bars: dict[str, TaskID] = {}
        self._out = out

    def show(self, run: Row) -> None:
        """The run has changed."""
        standing = msgspec.convert(run, RunStatus)
        left = "" if standing.state in FINAL else _left(standing.expected_seconds)
        for stage in standing.stages:
            if stage.name not in self._bars:
                self._bars[stage.name] = self._progress.add_task(clean(stage.name), counts="")
            total = sum(stage.counts.values())
            counts = "  ".join(
                f"{SIGNS[state][0]} {stage.counts[state]}"
                for state in _ORDER
                if stage.counts.get(state)
            )
            if left and _ended(stage) < total:  # Beside the first stage that has not ended.
                counts, left = f"{counts}  {left}", ""
            self._progress.update(
                self._bars[stage.name], completed=_ended(stage), total=total, counts=counts
            )
        self._progress.start()
        self._progress.refresh()

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()


class ProgressLines:
    """A line on stderr for each change."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._last = ""

    def show(self, run: Row) -> None:
        """The run has changed."""
        standing = msgspec.convert(run, RunStatus)
        stages = ", ".join(
            f"{stage.name} {_ended(stage)}/{sum(stage.counts.values())}"
            for stage in standing.stages
        )
        line = f"run {standing.id} of {standing.pipeline}: {standing.state}"
        line += f" — {stages}" if stages else ""
        if line != self._last:
            self._out.say(line)
            self._last = line

    def close(self) -> None:
        """There is nothing to end."""


def _left(expected_seconds: float | None) -> str:
    return "" if expected_seconds is None else f"about {seconds(expected_seconds)} to go"


def _ended(stage: StageView) -> int:
    return sum(count for state, count in stage.counts.items() if state in FINAL)
