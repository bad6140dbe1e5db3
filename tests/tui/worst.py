"""Owns the worst text there is, and what no screen may show of it."""

import unicodedata
from typing import Any, Final

from tests.tui.sources import (
    drawn,
    picture,
    until,
)
from tui.app import Console
from tui.widgets.box import Box

WORST: Final = (
    "[/x] [b] [/ \\[ \x1b]0;x\x07\x1b[31m\x9b1m\x85\u202e\u2066\u200f\u061c\ud800語e\u0301\n\t\r"
)


FORBIDDEN: Final = {"Cc", "Cs", "Zl", "Zp"}


TURNING: Final = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check(app: Console) -> None:
    """Nothing on the screen is a command to the terminal, and each box has its frame."""
    check_text(app)
    check_frames(app)


def check_text(app: Console) -> None:
    """Nothing on the screen is a command to the terminal."""
    for text in picture(app):
        signs = set(text)
        assert not {unicodedata.category(sign) for sign in signs} & FORBIDDEN, repr(text)
        assert not signs & TURNING, repr(text)


def check_frames(app: Console) -> None:
    """Each box has its frame."""
    for box in app.screen.query(Box):
        if box.framed and box.display and box.region.height > 1 and box.region.width > 1:
            check_frame(app, box)


def check_frame(app: Console, box: Box) -> None:
    """Its corners and sides are where they belong, whatever the cells between them hold."""
    strips = app.screen._compositor.render_strips(app.size)  # noqa: SLF001
    area = box.region
    if (
        not app.screen.region.contains_region(area)
        or area != app.screen.find_widget(box).visible_region
    ):
        return
    for y in range(area.y, area.bottom):
        left = strips[y].crop(area.x, area.x + 1).text
        right = strips[y].crop(area.right - 1, area.right).text
        first, last = y == area.y, y == area.bottom - 1
        assert left == ("╭" if first else "╰" if last else "│"), (box, y)
        assert right == ("╮" if first else "╯" if last else "│"), (box, y)


async def checked(app: Console, pilot: Any) -> None:  # noqa: ANN401 - Textual's pilots are generic.
    await until(pilot, lambda: app.screen.is_mounted)
    await drawn(app, pilot)
    check_text(app)
    # A screen is laid out some time after it is opened.
    await until(pilot, lambda: is_framed(app))
    check(app)


def is_framed(app: Console) -> bool:
    """Whether each box has its frame by now."""
    try:
        check_frames(app)
    except AssertionError:
        return False
    return True
