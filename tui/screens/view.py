"""Owns what all views have in common: the frame, the keys, a picture made four times a second.

A view says which questions it needs, which objects it watches, and draws from the store. It holds
no data of its own but where the cursor, the filter, and the order are.
"""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import msgspec
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget

from control.model.filters import FilterInvalid
from control.model.live import Watch
from control.model.times import to_rfc3339
from tui.core.commands import COMMANDS, EVERYWHERE, TABLES, WRITES
from tui.core.orders import Thing
from tui.core.rows import csv_of
from tui.core.store import Store
from tui.core.tables import Clock
from tui.link.questions import Question
from tui.panes import bars
from tui.screens.port import Console
from tui.widgets.box import Bar, Box
from tui.widgets.keys import bindings
from tui.widgets.prompt import Prompt
from tui.widgets.reader import Reader
from tui.widgets.table import Table

DAY_MS = 86_400_000
ALWAYS = frozenset(
    name for name in EVERYWHERE if name not in {"faults", "window(-1)", "window(1)", "filter"}
)
ROWS = frozenset(name for name in TABLES if name not in {"explain", "log"}) | {"faults", "filter"}


class View(Screen[None]):
    """A screen with the console's frame around `body`."""

    BINDINGS: ClassVar[list[BindingType]] = bindings((*EVERYWHERE, *TABLES, *sorted(WRITES)))
    name_of_view: ClassVar[str] = ""
    supports: ClassVar[frozenset[str]] = frozenset()
    """The commands that do something here, besides those that work everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self._zoomed: Box | None = None

    @property
    def console(self) -> Console:
        """The app, as screens see it."""
        return cast("Console", self.app)

    @property
    def store(self) -> Store:
        """What is known."""
        return self.console.store

    def compose(self) -> ComposeResult:
        """The frame."""
        yield Bar(id="header")
        yield Bar(id="tabs")
        with Container(id="body"):
            yield from self.body()
        yield Prompt(id="prompt")
        yield Bar(id="crumbs")
        yield Bar(id="keys")

    # What a view says of itself.

    def body(self) -> ComposeResult:
        """What is between the bars."""
        raise NotImplementedError

    def path(self) -> list[str]:
        """The breadcrumbs."""
        raise NotImplementedError

    def questions(self) -> list[Question]:
        """What is to be asked while this view is in front."""
        return []

    def watched(self) -> Watch:
        """What the live events shall tell of while this view is in front."""
        return Watch(runs=[], jobs_of=0, workers=False)

    def paint(self, *, order: bool) -> None:
        """Draw what is known now; `order`: and sort and filter anew."""
        raise NotImplementedError

    def things(self, command: str) -> list[Thing]:
        """What an action would be about now."""
        del command
        return []

    # The picture.

    def flush(self, *, order: bool) -> None:
        """Draw everything that has changed."""
        self.clock.now_ms = self.store.server_now(self.console.now_ms())
        stale = self.console.stale()
        for box in self.query(Box):
            if box.framed:
                box.stale = stale
        self.paint(order=order)
        self.draw_bars()
        self.console.session.want(self.questions(), self.watched())

    def draw_bars(self) -> None:
        """The bars around."""
        console, width = self.console, self.size.width
        now_ms = console.now_ms()
        header = bars.header(self.store, console.mode(), width, now_ms)
        self.query_one("#header", Bar).show([header])
        self.query_one("#tabs", Bar).show([bars.tabs(self.name_of_view, width)])
        self.query_one("#crumbs", Bar).show([bars.crumbs(self.path(), console.flash_now(), width)])
        self.query_one("#keys", Bar).show([bars.keys(self.keys(), width)])

    def keys(self) -> list[tuple[str, str]]:
        """The keys that do something here now, the most useful ones first."""
        found = {}
        for active in self.active_bindings.values():
            command = COMMANDS.get(active.binding.action)
            if active.enabled and command is not None and command.priority:
                found[command.id] = command
        named = [
            (command.shown, command.word)
            for command in sorted(found.values(), key=lambda each: each.priority)
        ]
        opens = [("↵", "open")] if self.table is not None else []
        return [*opens, ("tab", "pane"), *named]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does anything here: footer, help, and palette follow from it."""
        name = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
        if name not in COMMANDS:
            return super().check_action(action, parameters)
        if name in WRITES and not self.console.may_write:
            return False
        return name in ALWAYS or name in self.supports

    @property
    def table(self) -> Table[Any] | None:
        """The table in focus, or else the first one that is there."""
        if isinstance(self.focused, Table):
            return self.focused
        for table in self.query(Table):
            if table.display:
                return table
        return None

    def on_screen_resume(self) -> None:
        """It is in front again."""
        self.call_after_refresh(self.flush, order=True)

    def on_resize(self) -> None:
        """The terminal has another size."""
        self.call_after_refresh(self.flush, order=False)

    def on_descendant_focus(self) -> None:
        """Other keys may do something now."""
        self.refresh_bindings()
        self.draw_bars()

    def on_table_moved(self) -> None:
        """The cursor is elsewhere: what is told of its object is another."""
        self.paint(order=False)
        self.console.session.want(self.questions(), self.watched())

    def job_id(self) -> int | None:
        """The job under the cursor; None: there is none."""
        return None

    def take_filter(self, text: str, *, done: bool) -> None:
        """A filter was typed: rows that do not fit go, or lines that do are found."""
        reader = self.focused if isinstance(self.focused, Reader) else None
        if reader is None and self.table is None:
            reader = next(iter(self.query(Reader)), None)
        if reader is not None:
            reader.seek(text)
            if done:
                reader.focus()
            return
        table = self.table
        if table is None:
            return
        try:
            table.rows.filter = table.rows.read(text)
        except FilterInvalid as error:
            if done:
                self.console.flash(str(error), "bad")
            return
        self.flush(order=True)
        if done:
            table.focus()

    def describe(self, title: str, record: object) -> None:
        """Show a whole record."""
        self.console.show_record(title, record)

    # What keys do in every view.

    def with_table(self, work: Callable[[Table[Any]], None]) -> None:
        """Do something with the table in focus, if there is one."""
        if self.table is not None:
            work(self.table)
            self.flush(order=True)

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
        table = self.table
        if isinstance(self.focused, Reader) or table is None:
            self.query_one(Prompt).begin("/", "", [])
        else:
            self.query_one(Prompt).begin("/", table.rows.filter.text, list(table.rows.fields))

    def action_faults(self) -> None:
        """Only what is wrong, or everything."""

        def toggle(table: Table[Any]) -> None:
            table.rows.only_faults = not table.rows.only_faults

        self.with_table(toggle)

    def action_flip(self) -> None:
        """Turn the order round."""
        self.with_table(lambda table: table.rows.sort_by(table.rows.sort))

    def action_sort_column(self, way: int) -> None:
        """Sort by the next column."""

        def step(table: Table[Any]) -> None:
            fields = [column.field for column in table.columns]
            at = fields.index(table.rows.sort) if table.rows.sort in fields else -1
            table.rows.sort_by(fields[(at + way) % len(fields)])

        self.with_table(step)

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
            self.console.choose_order(table)

    def action_describe(self) -> None:
        """The whole record under the cursor."""
        table = self.table
        if table is not None and table.current is not None:
            self.describe(str(table.cursor).replace("\n", " "), table.current)

    def action_explain(self) -> None:
        """Why the job under the cursor waits, runs, or has ended."""
        found = self.job_id()
        if found is None:
            self.console.flash("there is no job under the cursor", "bad")
        else:
            self.console.explain(found)

    def action_log(self) -> None:
        """The log of the job under the cursor."""
        found = self.job_id()
        if found is None:
            self.console.flash("there is no job under the cursor", "bad")
        else:
            self.console.open_object("job", found)

    def action_copy(self) -> None:
        """Copy the id."""
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
        self.console.confirm(command, self.things(command))

    def action_retry(self) -> None:
        """Run what failed again."""
        self.order("retry")

    def action_pause(self) -> None:
        """Pause a schedule, or let it go on."""
        things = self.things("pause")
        if len({thing.paused for thing in things}) > 1:
            self.console.flash("some of these are paused and some are not: mark either", "bad")
        else:
            self.console.confirm("pause", things)

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
        since, until = to_rfc3339(now_ms - DAY_MS), to_rfc3339(now_ms)
        self.console.confirm("backfill", self.things("backfill"), since=since, until=until)

    def action_command(self) -> None:
        """Type a command."""
        self.query_one(Prompt).begin(":", "", self.console.command_words())

    def action_history(self, way: int) -> None:
        """The view before, or after."""
        self.console.step(way)

    def action_last_view(self) -> None:
        """Between two views."""
        self.console.last_view()

    def action_view(self, name: str) -> None:
        """One of the six."""
        self.console.open_view(name)

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
            self.app.exit()
