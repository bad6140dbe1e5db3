"""Owns a box on the screen: lines with a frame and titles, of which only changed ones are drawn.

All of the console is drawn through here. A box decides anew what its lines are whenever it is
told to, compares them with those on the screen, and draws the difference.
"""

from functools import lru_cache
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.css.styles import RenderStyles
from textual.dom import DOMNode
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.core.spans import Line, Look, Span, fit_line, line, width_of

FRAME_CELLS: Final = 2


class Box(Widget, can_focus=True):
    """A framed box; subclasses say what is inside with `content`."""

    DEFAULT_CSS = """
    Box {
        height: 1fr;
        width: 1fr;
        background: $background;
        color: $foreground;
        & > .box--frame { color: $foreground 30%; }
        & > .box--dim { color: $foreground-muted; }
        & > .box--bold { text-style: bold; }
        & > .box--good { color: $text-success; }
        & > .box--bad { color: $text-error; text-style: bold; }
        & > .box--warn { color: $text-warning; }
        & > .box--accent { color: $text-accent; text-style: bold; }
        & > .box--fast { color: $text-primary; }
        & > .box--slow { color: $text-secondary; }
        & > .box--title { color: $foreground-muted; text-style: bold; }
        & > .box--cursor { background: $surface-lighten-2; }
        & > .box--mark { background: $primary-muted; }
        &:focus > .box--frame { color: $primary; }
        &:focus > .box--cursor { background: $primary; color: $text; text-style: bold; }
    }
    .nocolor Box, Box:nocolor {
        &:focus > .box--frame { text-style: bold; }
        & > .box--cursor { text-style: reverse; }
    }
    """
    framed: ClassVar[bool] = True

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.heading: Line = ()
        self.footing: Line = ()
        self.stale = ""  # Since when what is shown is old, in words; empty: it is not.
        self._drawn_stale = False
        self._drawn: list[tuple[Line, Look]] = []
        self._styles_of: dict[tuple[Look, Look, bool], Style] = {}

    def title(self) -> Line:
        """What stands in the upper edge."""
        return self.heading

    def content(self, width: int, height: int) -> list[tuple[Line, Look]]:
        """The lines inside, each with a look that goes over all of it."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw what has changed."""
        if not self.is_attached or not self.size.width or not self.size.height:
            return
        fresh = self._all_lines(self.size.width, self.size.height)
        before, self._drawn = self._drawn, fresh
        was_stale, self._drawn_stale = self._drawn_stale, bool(self.stale)
        if len(before) != len(fresh) or was_stale != self._drawn_stale:
            self.refresh()
            return
        for y, (old, new) in enumerate(zip(before, fresh, strict=True)):
            if old != new:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """One line as Textual wants it."""
        if y >= len(self._drawn):
            return Strip.blank(self.size.width, self.rich_style)
        spans, over = self._drawn[y]
        segments = [Segment(text, self._style(look, over)) for text, look in spans]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def on_resize(self) -> None:
        """Another size has other lines."""
        self._drawn = []
        self.redraw()

    def notify_style_update(self) -> None:
        """Another theme, or focus: looks are other styles now."""
        super().notify_style_update()
        self._forget_styles()

    def watch_has_focus(self, has_focus: bool) -> None:
        """The frame says where the keys go."""
        super().watch_has_focus(has_focus)
        self._forget_styles()
        self.refresh()

    def get_component_styles(self, *names: str) -> RenderStyles:
        """The styles of looks, which are found when they are drawn.

        Textual would find those of all `COMPONENT_CLASSES` of each box whenever the focus moves: a
        third of the time until the console shows something.
        """
        for name in names:
            if name not in self._component_styles:
                node = DOMNode(classes=name)
                node._attach(self)  # noqa: SLF001 - As Textual does it for `COMPONENT_CLASSES`.
                self.app.stylesheet.apply(node)
                self._component_styles[name] = node.styles
        return super().get_component_styles(*names)

    def _forget_styles(self) -> None:
        self._component_styles.clear()
        self._rich_style_cache.clear()
        self._styles_of.clear()

    def _all_lines(self, width: int, height: int) -> list[tuple[Line, Look]]:
        if not self.framed:
            return self._padded(self.content(width, height), width, height)
        inner = max(width - FRAME_CELLS, 0)
        body = self._padded(self.content(inner, height - FRAME_CELLS), inner, height - FRAME_CELLS)
        side: Span = ("│", "frame")
        heading = self.title()
        if self.stale:
            heading = (*heading, *line((f" STALE {self.stale}", "warn")))
        top = _edge("╭", "╮", heading, width, at_end=False)
        bottom = _edge("╰", "╯", self.footing, width, at_end=True)
        framed: list[tuple[Line, Look]] = [((side, *spans, side), over) for spans, over in body]
        return [(top, ""), *framed, (bottom, "")]

    @staticmethod
    def _padded(lines: list[tuple[Line, Look]], width: int, height: int) -> list[tuple[Line, Look]]:
        empty: tuple[Line, Look] = ((), "")
        lines = [*lines[:height], *[empty] * (height - len(lines))]
        return [(fit_line(spans, width), over) for spans, over in lines]

    def _style(self, look: Look, over: Look) -> Style:
        key = (look, over, bool(self.stale))
        found = self._styles_of.get(key)
        if found is None:
            found = self.get_component_rich_style(f"box--{look}") if look else self.rich_style
            if over and look != "frame":
                found += self.get_component_rich_style(f"box--{over}", partial=True)
            if self.stale:
                found += Style(dim=True)
            self._styles_of[key] = found
        return found


@lru_cache(maxsize=512)
def _edge(left: str, right: str, title: Line, width: int, *, at_end: bool) -> Line:
    """The frame's upper or lower edge, with a title in it."""
    room = max(width - 2, 0)
    if not title or room < 6:  # noqa: PLR2004 - no title is so short.
        return ((left + "─" * room + right, "frame"),)
    taken = min(width_of(title), room - 4)
    words = fit_line(title, taken)
    rule = "─" * (room - taken - 3)
    if at_end:
        return ((left + rule + " ", "frame"), *words, (" ─" + right, "frame"))
    return ((left + "─ ", "frame"), *words, (" " + rule + right, "frame"))


class Lines(Box):
    """A box of lines that others decide."""

    def __init__(
        self,
        *,
        id: str | None = None,  # noqa: A002 - Textual's word.
        classes: str | None = None,
        focusable: bool = True,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.can_focus = focusable
        self._lines: list[Line] = []

    def show(self, lines: list[Line]) -> None:
        """Have these lines inside."""
        self._lines = lines
        self.redraw()

    def content(self, width: int, height: int) -> list[tuple[Line, Look]]:
        """The lines as they were given."""
        del width, height
        return [(spans, "") for spans in self._lines]


class Bar(Lines):
    """Lines without a frame, over the whole width."""

    framed = False

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's word.
        super().__init__(id=id, focusable=False)
