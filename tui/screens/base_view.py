"""Owns what keys do in every view."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec
from textual.binding import Binding, BindingType
from textual.widget import Widget

from control.model.times import to_rfc3339
from tui.core.commands import EVERYWHERE, TABLES, WRITES
from tui.core.tables.rows import csv_of
from tui.core.windows import WINDOWS_S, stepped
from tui.screens.screen_frame import Framed
from tui.widgets.box import Box
from tui.widgets.keys import bindings
from tui.widgets.prompt import Prompt
from tui.widgets.table import Table

ROWS: Final = frozenset(
    {
        "filter",
        "faults",
        "sort",
        "sort_column(1)",
        "sort_column(-1)",
        "flip",
        "mark",
        "wide",
        "copy",
        "copy_row",
        "describe",
        "save",
    }
)
"""The commands that every view with a table has."""
_DAY_MS: Final = 86_400_000


class View(Framed):
    """A screen with the console's frame and keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings((*EVERYWHERE, *TABLES, *sorted(WRITES))),
        Binding("tab", "next_pane(1)", "next pane", show=False),
        Binding("shift+tab", "next_pane(-1)", "pane before", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._zoomed: Box | None = None

    def describe(self, title: str, record: object) -> None:
        """Show a whole record."""
        self.console.navigation.show_record(title, record)

    def with_table(self, work: Callable[[Table[Any]], None]) -> None:
        """Do something with the table in focus, if there is one."""
        if self.table is not None:
            work(self.table)
            self.flush(order=True)

    def reorder(self, work: Callable[[Table[Any]], None]) -> None:
        """Choose another order for the table in focus: what comes first now is seen."""
        if self.table is not None:
            self.with_table(work)
            self.table.show_top()

    def action_back(self) -> None:
        """Clear the filter, leave the zoom, or go up."""
        table = self.table
        if table is not None and table.rows.filter:
            table.rows.filter = table.rows.read("")
            self.flush(order=True)
        elif table is not None and table.marks:
            table.marks.clear()
            self.flush(order=False)
        elif self._zoomed is not None:
            self.action_zoom()
        elif len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_zoom(self) -> None:
        """The pane in focus alone, or all of them."""
        zoomed = self.focused if self._zoomed is None and isinstance(self.focused, Box) else None
        if self._zoomed is not None:
            self._zoomed.remove_class("zoomed")
        self._zoomed = zoomed
        self.set_class(zoomed is not None, "zooming")
        body = self.query_one("#body")
        for node in body.query(Widget):
            keeps = zoomed is None or node is zoomed or zoomed in node.walk_children()
            node.set_class(not keeps, "hidden")
        if zoomed is not None:
            zoomed.add_class("zoomed")
            zoomed.focus()

    def action_filter(self) -> None:
        """Type a filter."""
        pane = self.filtered = self.to_filter()
        if isinstance(pane, Table):
            self.query_one(Prompt).begin("/", pane.rows.filter.text, list(pane.rows.fields))
        elif pane is not None:
            self.query_one(Prompt).begin("/", pane.sought, [])

    def action_faults(self) -> None:
        """Only what is wrong, or everything: in all tables that tell one from the other."""
        tables = [table for table in self.query(Table) if table.rows.tells_faults]
        wanted = not any(table.rows.only_faults for table in tables)
        for table in tables:
            table.rows.only_faults = wanted
        self.flush(order=True)
        for table in tables:
            table.show_top()

    def action_flip(self) -> None:
        """Turn the order round."""
        self.reorder(lambda table: table.rows.sort_by(table.rows.sort))

    def action_sort_column(self, way: int) -> None:
        """Sort by the next column."""

        def step(table: Table[Any]) -> None:
            fields = [column.field for column in table.columns]
            at = fields.index(table.rows.sort) if table.rows.sort in fields else -1
            table.rows.sort_by(fields[(at + way) % len(fields)])

        self.reorder(step)

    def action_mark(self) -> None:
        """Mark the row under the cursor."""
        self.with_table(lambda table: table.toggle_mark())

    def action_wide(self) -> None:
        """More columns, or fewer."""

        def toggle(table: Table[Any]) -> None:
            table.wide = not table.wide

        self.with_table(toggle)

    def action_sort(self) -> None:
        """Choose what to sort by."""
        table = self.table
        if table is not None:
            self.console.navigation.choose_order(table)

    def action_describe(self) -> None:
        """The whole record under the cursor."""
        table = self.table
        if table is not None and table.current is not None:
            self.describe(str(table.cursor).replace("\n", " "), table.current)

    def action_explain(self) -> None:
        """Why the job under the cursor waits, runs, or has ended."""
        self._with_job(self.console.navigation.explain, self.console.navigation.explain_run)

    def action_log(self) -> None:
        """The log of the job under the cursor."""
        self._with_job(
            lambda job: self.console.navigation.open_object("job", job),
            self.console.navigation.open_worst,
        )

    def _with_job(self, job: Callable[[int], None], run: Callable[[int], None]) -> None:
        """Do this with the job under the cursor, or that with the run."""
        job_id, run_id = self.job_id(), self.pointed_run()
        if job_id is not None:
            job(job_id)
        elif run_id is not None:
            run(run_id)
        else:
            self.console.flash("there is no job under the cursor", "bad")

    def action_copy(self) -> None:
        """Copy the line that was just said, or else the id."""
        line = self.console.notices.line()
        if line:
            self.console.copy(line, line)
            return
        table = self.table
        if table is not None and table.chosen():
            text = " ".join(str(key).replace("\n", "/") for key in table.chosen())
            self.console.copy(text, text)

    def action_copy_row(self) -> None:
        """Copy the row as JSON."""
        table = self.table
        if table is not None and table.current is not None:
            self.console.copy(msgspec.json.encode(table.current).decode(), "the row as JSON")

    def action_save(self) -> None:
        """Save what is shown, as CSV, JSON, and SVG."""
        table = self.table
        if table is None:
            return
        rows = [table.rows.by_key[key] for key in table.rows.order]
        name = f"tpctl-{self.name_of_view}-{table.id}"
        self.console.save(f"{name}.csv", csv_of(table.rows.columns, rows))
        self.console.save(f"{name}.json", msgspec.json.encode(rows).decode())
        self.console.save(f"{name}.svg", self.app.export_screenshot(title="tpctl"))

    def order(self, command: str) -> None:
        """Ask before something is changed."""
        self.console.sender.confirm(command, self.things(command))

    def action_retry(self) -> None:
        """Run what failed again."""
        self.order("retry")

    def action_pause(self) -> None:
        """Pause a schedule, or let it go on."""
        things = self.things("pause")
        if len({thing.paused for thing in things}) > 1:
            self.console.flash("some of these are paused and some are not: mark either", "bad")
        else:
            self.console.sender.confirm("pause", things)

    def action_drain(self) -> None:
        """Let workers leave."""
        self.order("drain")

    def action_raise_priority(self) -> None:
        """Waiting jobs sooner."""
        self.order("raise_priority")

    def action_lower_priority(self) -> None:
        """Waiting jobs later."""
        self.order("lower_priority")

    def action_cancel(self) -> None:
        """End it."""
        self.order("cancel")

    def action_trigger(self) -> None:
        """Start a run of a schedule now."""
        self.order("trigger")

    def action_backfill(self) -> None:
        """Make up for the times of the last day."""
        now_ms = self.clock.now_ms
        since, until = to_rfc3339(now_ms - _DAY_MS), to_rfc3339(now_ms)
        self.console.sender.confirm("backfill", self.things("backfill"), since=since, until=until)

    def action_command(self) -> None:
        """Type a command."""
        self.query_one(Prompt).begin(":", "", self.console.command_words())

    def action_history(self, way: int) -> None:
        """The view before, or after."""
        self.console.navigation.step(way)

    def action_last_view(self) -> None:
        """Between two views."""
        self.console.navigation.last_view()

    def action_view(self, name: str) -> None:
        """One of the six."""
        self.console.navigation.open_view(name)

    def action_help(self) -> None:
        """The keys of this screen."""
        self.console.show_help(self)

    def action_palette(self) -> None:
        """Every command by name."""
        self.console.navigation.show_palette()

    def action_window(self, way: int) -> None:
        """A shorter or longer window of time."""
        self.console.window = stepped(list(WINDOWS_S), self.console.window, way)
        self.flush(order=True)

    def action_next_pane(self, way: int) -> None:
        """The next pane; on a small terminal what stands behind another comes to the front."""
        boxes = [box for box in self.query_one("#body").query(Box) if box.can_focus]
        if not boxes:
            return
        here = boxes.index(self.focused) if isinstance(self.focused, Box) else -way
        zooming = self._zoomed is not None
        if zooming:
            self.action_zoom()
        chosen = boxes[(here + way) % len(boxes)]
        for pair in self.query(".pair"):
            behind = pair.query(".behind")
            if behind and chosen in pair.walk_children():
                pair.set_class(chosen in behind.first().walk_children(), "flip")
        if chosen.focusable:
            self.set_focus(chosen)
        else:  # It comes to the front with the next picture.
            chosen.focus()
        if zooming:
            self.action_zoom()
        self.flush(order=False)

    def action_freeze(self) -> None:
        """Freeze the picture, or let it live."""
        self.console.toggle_freeze()

    def action_refresh(self) -> None:
        """Everything anew, now."""
        self.console.session.refresh()
        self.console.flash("asked for everything anew")

    def action_quit(self) -> None:
        """Leave, from the root of a view; deeper down one level up."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()
        else:
            self.console.leave()
