"""Owns a pane of text to read: it scrolls, searches, wraps, and follows what is added at the end.

Following is one thing or the other: scrolling up stops it, reaching the end resumes it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from tui.core.spans import Line, Look, line, shown, wrapped
from tui.widgets.box import FRAME_CELLS, Box
from tui.widgets.keys import bindings

LINES_MAX: Final = 50_000
_WHEEL: Final = 3


class TextReader(Box):
    """Lines of text; with `follows` it begins at the end and stays there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_by(1)", "down", show=False),
        Binding("k,up", "scroll_by(-1)", "up", show=False),
        Binding("ctrl+d,pagedown", "half_page(1)", "half a page down", show=False),
        Binding("ctrl+u,pageup", "half_page(-1)", "half a page up", show=False),
        Binding("g,home", "scroll_home", "first line", show=False),
        Binding("G,end", "scroll_end", "last line", show=False),
        *bindings(("follow", "hit(1)", "hit(-1)", "put_mark", "wrap")),
    ]

    def __init__(self, *, id: str, follows: bool = False) -> None:  # noqa: A002 - Textual's word.
        super().__init__(id=id)
        self.lines: deque[Line] = deque(maxlen=LINES_MAX)
        self.following = follows
        self.grows = follows  # Lines come at the end; else all of it is replaced, again and again.
        self.wrapping = True
        self.sought = ""
        self.hits: list[int] = []
        self.dropped = 0  # Lines that the ring has lost at its begin.
        # The first row in view: its line, and which of that line's rows, as a line may be longer
        # than the pane.
        self._top = (0, 0)
        self._hit: int | None = None  # The line that was found last, while nobody has scrolled.

    @property
    def text(self) -> str:
        """Everything, as plain text."""
        return "\n".join("".join(text for text, _ in spans) for spans in self.lines) + "\n"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a text that grows has an end to follow, and keeps a mark."""
        if action in {"follow", "put_mark"} and not self.grows:
            return False
        return super().check_action(action, parameters)

    def replace(self, lines: Iterable[Line]) -> None:
        """Other text; the place stays."""
        fresh = list(lines)
        if fresh != list(self.lines):
            self.lines.clear()
            self.dropped = 0
            self._add(fresh)
        else:
            self.redraw()

    def extend(self, lines: Iterable[Line]) -> None:
        """More at the end."""
        fresh = list(lines)
        if fresh:
            self._add(fresh)
        else:
            self.redraw()

    def _add(self, fresh: Sequence[Line]) -> None:
        for each in fresh:
            if len(self.lines) == LINES_MAX:
                self.dropped += 1
                at, row = self._top
                self._top = (at - 1, row) if at else (0, 0)
                self._hit = None if self._hit is None else self._hit - 1
            self.lines.append(each)
        self._find_hits()
        self._settle()

    def content(self, width: int, height: int) -> list[tuple[Line, Look]]:
        """The rows in view."""
        made: list[tuple[Line, Look]] = []
        hits = set(self.hits)
        at, row = self._top
        while at < len(self.lines) and len(made) < height:
            over: Look = "mark" if at in hits else ""
            made += [(piece, over) for piece in self._rows(at, width)[row:]]
            at, row = at + 1, 0
        return made[:height]

    def seek(self, text: str) -> None:
        """Find lines with this text, and go to the next one."""
        self.sought = shown(text).lower()
        self._find_hits()
        self._hit = self._top[0] - 1  # What is in view already is found first.
        self.action_hit(1)
        self.redraw()

    def action_scroll_by(self, rows: int) -> None:
        """Up or down; up ends following, the end resumes it."""
        end, self._hit = self._end, None
        self._top = self._moved(self._top, rows)
        if rows < 0:
            self.following = False
        elif self._top >= end:
            self.following = True
        self._settle()

    def action_half_page(self, way: int) -> None:
        """Half a page up or down."""
        self.action_scroll_by(way * max(self._room // 2, 1))

    def action_scroll_home(self) -> None:
        """To the first line."""
        self.following, self._hit = False, None
        self._top = (0, 0)
        self._settle()

    def action_scroll_end(self) -> None:
        """To the last line, and stay there."""
        self.following, self._hit = True, None
        self._settle()

    def action_follow(self) -> None:
        """Follow the end, or stay here."""
        self.following, self._hit = not self.following, None
        self._settle()

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self.wrapping = not self.wrapping
        self._settle()

    def action_put_mark(self) -> None:
        """A line to find this moment again."""
        self.extend([line(("─── mark ───", "warn"))])

    def action_hit(self, way: int) -> None:
        """The next line that was sought, or the one before."""
        if not self.hits:
            return
        here = self._top[0] if self._hit is None else self._hit
        others = [at for at in self.hits if (at > here if way > 0 else at < here)] or self.hits
        self.following = False
        self._hit = at = others[0] if way > 0 else others[-1]
        self._top = at, self._row_of(_plain(self.lines[at]).find(self.sought), at)
        self._settle()

    def on_mouse_scroll_down(self) -> None:
        """The wheel scrolls."""
        self.action_scroll_by(_WHEEL)

    def on_mouse_scroll_up(self) -> None:
        """The wheel scrolls."""
        self.action_scroll_by(-_WHEEL)

    def on_resize(self) -> None:
        """The end stays in view where it is followed."""
        self._settle()
        super().on_resize()

    @property
    def _room(self) -> int:
        return max(self.size.height - FRAME_CELLS, 1)

    @property
    def _width(self) -> int:
        return max(self.size.width - FRAME_CELLS, 0)

    @property
    def _end(self) -> tuple[int, int]:
        """The first row in view when the last one is at the bottom."""
        return self._moved((len(self.lines), 0), -self._room)

    def _moved(self, place: tuple[int, int], rows: int) -> tuple[int, int]:
        """So many rows further down, or up; at most to the last row, or the first."""
        at, row, width = place[0], place[1] + rows, self._width
        while row < 0 and at > 0:
            at -= 1
            row += len(self._rows(at, width))
        while at < len(self.lines) - 1 and row >= (size := len(self._rows(at, width))):
            at, row = at + 1, row - size
        return at, max(row, 0)

    def _rows(self, at: int, width: int) -> Sequence[Line]:
        return wrapped(self.lines[at], width) if self.wrapping else (self.lines[at],)

    def _row_of(self, offset: int, at: int) -> int:
        """In which of a line's rows the character at this offset is."""
        lengths = [sum(len(text) for text, _ in spans) for spans in self._rows(at, self._width)]
        return sum(end <= offset for end in accumulate(lengths[:-1]))

    def _settle(self) -> None:
        end, (at, row) = self._end, self._top
        if at < len(self.lines):  # The line may have fewer rows than before: it stays in view.
            row = min(row, len(self._rows(at, self._width)) - 1)
        self._top = end if self.following else min((at, row), end)
        if self.following:
            self._hit = None
        self.redraw()

    def _find_hits(self) -> None:
        if not self.sought:
            self.hits = []
            return
        self.hits = [at for at, spans in enumerate(self.lines) if self.sought in _plain(spans)]


def _plain(spans: Line) -> str:
    """As it is sought in."""
    return "".join(text for text, _ in spans).lower()
