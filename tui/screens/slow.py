"""Where the slots' time goes: jobs by their share of slot-seconds, and the one under the cursor."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from control.model.api.reports import SlowAttempt, TaskDetail, TaskStats
from control.model.api.views import Page
from control.model.states import Outcome
from tui.core.spans import Span, line
from tui.core.tables.rows import Key, TableColumn, TableRows, figure, length
from tui.core.tables.work import task_key, tasks, time_of
from tui.core.timestamps import instant
from tui.core.windows import WINDOWS_S
from tui.link.polling import PolledCall
from tui.panes import histogram
from tui.screens import view_queries
from tui.screens.base_view import ROWS, View
from tui.widgets.box import Lines
from tui.widgets.table import Table


def _slowest() -> list[TableColumn[SlowAttempt]]:
    def outcome(each: SlowAttempt) -> Span:
        return ("✓", "good") if each.outcome == Outcome.DONE else ("✗", "bad")

    return [
        TableColumn("", 1, outcome, field="outcome", value=lambda each: each.outcome.value),
        figure("JOB", 8, lambda each: each.job_id, align="left"),
        figure("RUN", 7, lambda each: each.run_id, align="left"),
        TableColumn("CLIENT", 8, lambda each: each.client),
        length("TOOK", 7, lambda each: each.duration_seconds),
        length("WAITED", 7, lambda each: each.wait_seconds),
        TableColumn("WORKER", 0, lambda each: each.worker),
        figure(
            "ENDED",
            8,
            lambda each: instant(each.finished_at),
            lambda each: time_of(each.finished_at),
            wide=True,
        ),
    ]


class SlowTasks(View):
    """View 3."""

    name_of_view = "slow"
    supports: ClassVar[frozenset[str]] = ROWS | {"window(-1)", "window(1)", "explain", "log"}

    def body(self) -> ComposeResult:
        """The tasks, a histogram, the slowest attempts."""
        yield Table(
            TableRows(tasks(), faulty=lambda task: task.errors > 0, sort="share", descending=True),
            id="tasks",
            empty="nothing has ended in this window; > makes it longer",
        )
        with Horizontal(classes="pair", id="details"):
            with Vertical(classes="left"):
                yield Lines(id="histogram")
            with Vertical(classes="right"):
                yield Table(TableRows(_slowest()), id="slowest", empty="nothing has ended")
                yield Lines(id="costs", focusable=False)

    def path(self) -> list[str]:
        """With the task under the cursor."""
        task = self._chosen()
        return ["overview", "slow tasks", *([f"{task.pipeline}/{task.job}"] if task else [])]

    def questions(self) -> list[PolledCall]:
        """The tasks, and the one under the cursor."""
        window, task = self.console.window, self._chosen()
        asked = [view_queries.tasks(window)]
        return [*asked, view_queries.task(task.pipeline, task.job, window)] if task else asked

    def paint(self, *, order: bool) -> None:
        """Draw it."""
        table = self.query_one("#tasks", Table)
        window = self.console.window
        found = self.store.tasks()
        table.heading = line(
            (f"Slow tasks {len(found)}", "title"),
            (f"  window {window}  (< shorter  > longer)", "dim"),
        )
        table.footing = line("SHARE: of all slot-seconds   Δ: p95 against the window before")
        rows: dict[Key, TaskStats] = {task_key(task): task for task in found}
        if self.store.value("tasks", Page) is not None:
            table.update(rows, order=order)
        self._paint_details()

    def on_table_opened(self, event: Table.Opened) -> None:
        """The job of an attempt."""
        event.stop()
        found = event.table.rows.by_key.get(event.key)
        if isinstance(found, SlowAttempt):
            self.console.navigation.open_run(found.run_id, found.job_id)
        elif isinstance(found, TaskStats):
            self.console.navigation.open_root("runs")
            self.console.navigation.filter_view(f"pipeline:{found.pipeline}")

    def job_id(self) -> int | None:
        """The attempt's job under the cursor."""
        found = self.table.current if self.table is not None else None
        return found.job_id if isinstance(found, SlowAttempt) else None

    def _chosen(self) -> TaskStats | None:
        current = self.query_one("#tasks", Table).current
        return current if isinstance(current, TaskStats) else None

    def _paint_details(self) -> None:
        task, window = self._chosen(), self.console.window
        detail = self.store.value("task", TaskDetail)
        box = self.query_one("#histogram", Lines)
        costs = self.query_one("#costs", Lines)
        slowest = self.query_one("#slowest", Table)
        slowest.heading = line((f"Slowest attempts, {window}", "title"))
        costs.heading = line(("What it costs", "title"))
        if task is None:
            box.heading = line(("Durations", "title"))
            for each in (box, costs):
                each.show([])
            slowest.empty = "no task is under the cursor"
            if self.store.value("tasks", Page) is not None:
                slowest.update({}, order=True)
            return
        slowest.empty = "nothing has ended"
        box.heading = line((f"{task.pipeline}/{task.job}: durations, {window}", "title"))
        fits = detail is not None and (detail.pipeline, detail.job) == (task.pipeline, task.job)
        if detail is not None and fits:
            size = box.size
            box.show(histogram.histogram(detail, max(size.width - 2, 10), max(size.height - 2, 1)))
            attempts: dict[Key, SlowAttempt] = {
                f"{each.job_id}.{each.attempt}": each for each in detail.slowest
            }
            slowest.update(attempts, order=True)
        else:
            box.show([line((" loading …", "dim"))])
            slowest.update({}, order=True)
            slowest.ready = False
        costs.show(histogram.costs(task, WINDOWS_S[window], max(costs.size.width - 2, 10)))
