"""Owns the frame of all views: the bars, which keys do something, a picture made 4 times a second.

A view says which questions it needs, which objects it watches, and draws from the store. It holds
no data of its own but where the cursor, the filter, and the order are.
"""

from typing import Any, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen

from control.model.api.live import Watch
from control.model.filters import FilterInvalid
from tui.core.actions import Thing
from tui.core.commands import COMMANDS, EVERYWHERE, WRITES
from tui.core.spans import line
from tui.core.store import Store
from tui.core.tables.work import ServerTime
from tui.link.polling import PolledCall
from tui.panes import bars
from tui.screens import view_queries
from tui.screens.console_protocol import ConsoleProtocol
from tui.widgets.box import Bar, Box
from tui.widgets.prompt import Prompt
from tui.widgets.reader import TextReader
from tui.widgets.table import Table

ALWAYS = frozenset(
    name for name in EVERYWHERE if name not in {"faults", "window(-1)", "window(1)", "filter"}
)
_SEVERAL = 2


class Framed(Screen[None]):
    """A screen with the console's frame around `body`."""

    name_of_view: ClassVar[str] = ""
    supports: ClassVar[frozenset[str]] = frozenset()
    """The commands that do something here, besides those that work everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ServerTime()
        self.filtered: Table[Any] | TextReader | None = None  # What a filter is being typed for.

    @property
    def console(self) -> ConsoleProtocol:
        """The app, as screens see it."""
        return cast("ConsoleProtocol", self.app)

    @property
    def store(self) -> Store:
        """What is known."""
        return self.console.store

    def compose(self) -> ComposeResult:
        """The frame."""
        yield Bar(id="header")
        yield Bar(id="tabs")
        yield Bar(id="too-small")
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

    def questions(self) -> list[PolledCall]:
        """What is to be asked while this view is in front."""
        return []

    def watched(self) -> Watch:
        """What the live events shall tell of while this view is in front."""
        return Watch(runs=[], jobs_of=0)

    def paint(self, *, order: bool) -> None:
        """Draw what is known now; `order`: and sort and filter anew."""
        raise NotImplementedError

    def things(self, command: str) -> list[Thing]:
        """What an action would be about now."""
        del command
        return []

    # The picture.

    @property
    def _is_whole(self) -> bool:
        """Whether all boxes are there: a screen is in front before they are, and after.

        A container's own boxes come after it: it counts as mounted when they are there.
        """
        parts = self.query("#keys, #body, #body *")
        whole = bool(self.query("#keys")) and bool(self.query("#body Box"))
        return self.is_mounted and whole and all(part.is_mounted for part in parts)

    def flush(self, *, order: bool) -> None:
        """Draw everything that has changed."""
        if not self._is_whole or not self.is_current:
            return
        self.clock.now_ms = self.console.picture_ms()
        stale, waiting = self.console.stale(), self.console.waiting_words()
        for table in self.query(Table):
            if table.loading_words != waiting:
                table.loading_words = waiting
                table.redraw()
        for box in self.query(Box):
            if box.framed:
                box.stale = stale
        self.paint(order=order)
        self.draw_bars()
        self._want()

    def _want(self) -> None:
        """Say what this view needs, and what attention needs on every view."""
        asked = self.questions()
        if view_queries.QUEUES not in asked:
            asked = [*asked, view_queries.QUEUES_FOR_ATTENTION]
        self.console.session.want(asked, self.watched())

    def draw_bars(self) -> None:
        """The bars around."""
        if not self._is_whole:
            return
        console, width = self.console, self.size.width
        now_ms = console.now_ms()
        header = bars.header(self.store, console.mode(), width, now_ms)
        self.query_one("#header", Bar).show([header])
        self.query_one("#tabs", Bar).show([bars.tabs(self.name_of_view, width)])
        typing = self.query_one(Prompt).typing
        path, keys = self.path(), self.keys()
        if typing:
            path = [f"{typing} filter" if typing == "/" else f"{typing} command"]
            keys = [("↵", "take"), ("esc", "leave"), ("→", "take what is offered")]
        problems = [
            problem for each in self.questions() if (problem := self.store.problem(each.key))
        ]
        said = console.notices.flash() or ((f"▲ {problems[0]}", "warn") if problems else None)
        self.query_one("#crumbs", Bar).show([bars.crumbs(path, said, width)])
        self.query_one("#keys", Bar).show([bars.keys(keys, width)])
        size = self.size
        words = f" {size.width}x{size.height} is too small: 80x24 at least"
        self.query_one("#too-small", Bar).show([line((words, "warn"))])

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
        if name == "wide" and not self._has_more_columns:
            return False
        if name == "zoom" and sum(box.can_focus for box in self.query("#body Box")) < _SEVERAL:
            return False
        return name in ALWAYS or name in self.supports

    @property
    def _has_more_columns(self) -> bool:
        return self.table is not None and any(each.wide for each in self.table.rows.columns)

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
        if not self._is_whole:
            return
        self.paint(order=False)
        self._want()

    def job_id(self) -> int | None:
        """The job under the cursor; None: there is none."""
        return None

    def pointed_run(self) -> int | None:
        """The run under the cursor, where no job is; None: there is none."""
        return None

    def take_filter(self, text: str, *, done: bool) -> None:
        """A filter was typed: rows that do not fit go, or lines that do are found."""
        pane = self.filtered or self.to_filter()
        if isinstance(pane, TextReader):
            pane.seek(text)
        elif pane is not None:
            try:
                pane.rows.filter = pane.rows.read(text)
            except FilterInvalid as error:
                if not done:
                    return
                self.console.flash(str(error), "bad")
                pane.rows.filter = pane.rows.read("")  # Not what was typed until it went wrong.
            self.flush(order=True)
            pane.show_top()
        if done and pane is not None:
            self.filtered = None
            pane.focus()

    def to_filter(self) -> Table[Any] | TextReader | None:
        """What a filter would be for: the pane in focus, else the first table, else the text."""
        if isinstance(self.focused, TextReader):
            return self.focused
        return self.table or next(iter(self.query(TextReader)), None)
