"""Owns the columns of a run's stages, with a cursor that stays on its job."""

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from control.model.api.views import JobView, RunView
from tui.core.spans import Line, Look
from tui.panes.stages import stage_columns
from tui.panes.tree import needs_tree
from tui.widgets.box import Box


class JobPicker(Box):
    """Stages side by side, or what waits for what as a tree."""

    framed = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "job(1)", "next job", show=False),
        Binding("up,k", "job(-1)", "job before", show=False),
        Binding("right", "stage(1)", "next stage", show=False),
        Binding("left", "stage(-1)", "stage before", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another job."""

        job_id: int

    def __init__(self, *, id: str, selected: int | None) -> None:  # noqa: A002 - Textual's word.
        super().__init__(id=id)
        self.selected = selected
        self.as_tree = False
        self._run: RunView | None = None
        self._jobs: list[JobView] = []
        self._now_ms = 0

    def show(self, run: RunView, jobs: list[JobView], now_ms: int) -> None:
        """Draw this run."""
        self._run, self._jobs, self._now_ms = run, jobs, now_ms
        if jobs and all(job.id != self.selected for job in jobs):
            self.selected = jobs[0].id
            self.post_message(self.Moved(self.selected))
        self.redraw()

    def content(self, width: int, height: int) -> list[tuple[Line, Look]]:
        """The columns, or the tree."""
        if self._run is None:
            return []
        draw = needs_tree if self.as_tree else stage_columns
        run, jobs, now_ms = self._run, self._jobs, self._now_ms
        lines = draw(run, jobs, width, height, selected_job=self.selected, now_ms=now_ms)
        return [(spans, "") for spans in lines]

    def action_job(self, way: int) -> None:
        """The next job of the stage, or of the next stage."""
        self._go(self._at + way)

    def action_stage(self, way: int) -> None:
        """The first job of the next stage."""
        if not self._jobs:
            return
        stages = list(dict.fromkeys(job.stage for job in self._jobs))
        here = stages.index(self._jobs[self._at].stage)
        wanted = stages[min(max(here + way, 0), len(stages) - 1)]
        self._go(next(at for at, job in enumerate(self._jobs) if job.stage == wanted))

    @property
    def _at(self) -> int:
        return next((at for at, job in enumerate(self._jobs) if job.id == self.selected), 0)

    def _go(self, at: int) -> None:
        if self._jobs:
            self.selected = self._jobs[min(max(at, 0), len(self._jobs) - 1)].id
            self.redraw()
            self.post_message(self.Moved(self.selected))
