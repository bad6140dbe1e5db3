"""Owns a table on the screen: the cursor, marks, and the view stay on their objects.

Rows come from `tui.core.tables.rows`; only those in view are drawn. Their order changes when the
caller asks for it; values change at any time. Until the user selects a row the cursor is on the
first one, so that new rows are visible; after that the frame shows how many are above the view.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.core.spans import Line, Look, Span, line, paragraph
from tui.core.tables.rows import Key, TableColumn, TableRows, drawn, fitting, header, widths_of
from tui.widgets.box import Box

Row = TypeVar("Row")


class Table(Box, Generic[Row]):
    """A table with a cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "down", "down", show=False),
        Binding("k,up", "up", "up", show=False),
        Binding("g,home", "first", "first row", show=False),
        Binding("G,end", "last", "last row", show=False),
        Binding("ctrl+d,pagedown", "page(1)", "half a page down", show=False),
        Binding("ctrl+u,pageup", "page(-1)", "half a page up", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    @dataclass
    class Opened(Message):
        """The row under the cursor was opened."""

        table: "Table[object]"
        key: Key

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

        table: "Table[object]"

    def __init__(
        self,
        rows: TableRows[Row],
        *,
        id: str,  # noqa: A002 - Textual's word.
        empty: str = "",
        well: str = "nothing is wrong",
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.rows = rows
        self.empty = empty  # Why there is nothing, and what to do.
        self.well = well  # What it means that `e` leaves nothing.
        self.loading_words = "loading …"
        self.ready = False  # Whether an answer has come yet: no rows is not the same as unknown.
        self.marks: set[Key] = set()
        self.cursor: Key | None = None
        self.wide = False
        self.above: list[Line] = []  # Lines over the header that do not scroll.
        self._at = 0  # The cursor's row.
        self._top = 0  # The first row in view.
        self._follows = True  # The first row, whichever that is: none was chosen.

    @property
    def current(self) -> Row | None:
        """The object under the cursor."""
        key = self.pointed
        return None if key is None else self.rows.by_key.get(key)

    @property
    def pointed(self) -> Key | None:
        """What the cursor is on; none while the filter hides its object, to which it returns."""
        order = self.rows.order
        return self.cursor if self._at < len(order) and order[self._at] == self.cursor else None

    @property
    def follows(self) -> bool:
        """Whether the cursor is on the first row, whichever that is: nobody has chosen one."""
        return self._follows

    @property
    def columns(self) -> Sequence[TableColumn[Row]]:
        """The columns that are drawn."""
        return [column for column in self.rows.columns if self.wide or not column.wide]

    def update(self, rows: Mapping[Any, Row], *, order: bool) -> None:
        """Take the rows as they are; `order`: and filter and sort them, as the first always are."""
        order = order or not self.ready or not self.rows.by_key
        self.ready = True
        on_screen = self._at - self._top
        if order:
            self.rows.arrange(rows)
        else:
            self.rows.refreshed(rows)
        self.marks &= rows.keys()
        self._find_cursor(on_screen)
        self.redraw()

    def title(self) -> Line:
        """The heading, and which rows are left out."""
        rows = self.rows
        parts: list[Span] = [*self.heading]
        if rows.filter:
            parts.append((f"  /{rows.filter.text}", "accent"))
        if rows.only_faults:
            parts.append(("  only errors", "accent"))
        if rows.hidden:
            parts.append((f"  {rows.hidden} hidden", "dim"))
        if self._top:
            parts.append((f"  ↑ {self._top} above, g", "accent"))
        return line(*parts)

    def content(self, width: int, height: int) -> list[tuple[Line, Look]]:
        """The header and the rows in view."""
        columns = fitting(self.columns, width - 1)
        widths = widths_of(columns, width - 1)
        rows = self.rows
        head = header(columns, widths, rows.sort, rows.descending)
        lines: list[tuple[Line, Look]] = [(above, "") for above in self.above]
        lines.append((((" ", ""), *head), ""))
        shown = rows.order[self._top : self._top + max(height - len(lines), 0)]
        for key in shown:
            over: Look = "cursor" if key == self.cursor else "mark" if key in self.marks else ""
            sign = "*" if key in self.marks else "▸" if key == self.cursor else " "
            lines.append((((sign, ""), *drawn(columns, widths, rows.by_key[key])), over))
        if not rows.order:
            lines.append(((), ""))
            lines += [(each, "") for each in paragraph(self._nothing(), width)]
        return lines

    def show_top(self) -> None:
        """Go to the first row, whichever that will be: another filter has other rows."""
        self._go(0)
        self._follows = True

    def in_view(self, most: int) -> list[Key]:
        """The rows in view, and as many around them as there is room for in `most`."""
        spare = max(most - self._room, 0) // 2
        begin = max(self._top - spare, 0)
        return self.rows.order[begin : begin + most]

    def is_near_end(self, rows: int) -> bool:
        """Whether the cursor is within so many rows of the last one."""
        return self._at >= len(self.rows.order) - rows

    def move_to(self, key: Key) -> None:
        """Put the cursor on this object, as soon as it is there."""
        if key in self.rows.order:
            self._go(self.rows.order.index(key))
        elif not self.rows.order:
            self.cursor = key
            self._follows = False

    def chosen(self) -> list[Key]:
        """What an action is about: the marked objects, or the one under the cursor."""
        if self.marks:
            return [key for key in self.rows.order if key in self.marks]
        return [] if self.pointed is None else [self.pointed]

    def action_down(self) -> None:
        """One row down."""
        self._go(self._at + 1)

    def action_up(self) -> None:
        """One row up."""
        self._go(self._at - 1)

    def action_first(self) -> None:
        """To the first row, and to those that come before it."""
        self.show_top()

    def action_last(self) -> None:
        """To the last row."""
        self._go(len(self.rows.order) - 1)

    def action_page(self, way: int) -> None:
        """Half a page up or down."""
        self._go(self._at + way * max(self._room // 2, 1))

    def action_open(self) -> None:
        """Drill down."""
        if self.pointed is not None:
            self._follows = False
            self.post_message(self.Opened(self, self.pointed))  # type: ignore[arg-type]

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next."""
        if self.pointed is not None:
            self.marks ^= {self.pointed}
            self.action_down()
            self.redraw()

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there; a second one opens."""
        at = self._top + event.y - 2 - len(self.above)
        if self._top <= at < len(self.rows.order):
            same = self.rows.order[at] == self.cursor
            self._go(at)
            if same:
                self.action_open()

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves the cursor, so that it stays in view."""
        self._go(self._at + 3)

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves the cursor, so that it stays in view."""
        self._go(self._at - 3)

    def on_resize(self) -> None:
        """The cursor stays in view."""
        self._keep_in_view()
        super().on_resize()

    def _go(self, at: int) -> None:
        if not self.rows.order:
            return
        self._follows = False
        self._at = min(max(at, 0), len(self.rows.order) - 1)
        self.cursor = self.rows.order[self._at]
        self._keep_in_view()
        self.redraw()
        self.post_message(self.Moved(self))  # type: ignore[arg-type]

    def _find_cursor(self, on_screen: int) -> None:
        """Where the cursor's object is now; if it is gone, what has taken its place.

        If no row was chosen: the first one.
        """
        order = self.rows.order
        before = self.cursor
        if not order:
            self._at = self._top = 0
            return
        if self._follows:
            self._at = self._top = 0
            self.cursor = order[0]
        elif self.cursor in self.rows.by_key and self.cursor is not None and self.cursor in order:
            self._at = order.index(self.cursor)
            self._top = self._at - on_screen  # The eye stays on it as well.
        else:
            self._at = min(self._at, len(order) - 1)
            self.cursor = order[self._at]
        self._keep_in_view()
        if before != self.cursor:
            self.post_message(self.Moved(self))  # type: ignore[arg-type]

    def _keep_in_view(self) -> None:
        height = self._room
        self._top = min(self._top, self._at)
        self._top = max(self._top, self._at - height + 1)
        self._top = max(min(self._top, len(self.rows.order) - height), 0)

    @property
    def _room(self) -> int:
        """Rows that fit: without the frame, the header, and what is above it."""
        return max(self.size.height - 3 - len(self.above), 1)

    def _nothing(self) -> str:
        if not self.ready:
            return self.loading_words
        if self.rows.hidden:
            hidden = self.rows.hidden
            if not self.rows.filter:
                return f"{self.well}. {hidden} hidden. e shows all again"
            what = self.rows.filter.text
            return f"nothing matches «{what}». {hidden} hidden by the filter. esc clears it"
        return self.empty or "nothing is here"
