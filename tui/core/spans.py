"""Owns how a line on the screen is put together: pieces of text, each with a role.

A role is a meaning (`bad`, `dim`, …); the theme decides what it looks like. Text from the server
comes in raw and is made harmless here, so nothing that is drawn can be a command to the terminal.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from rich.cells import cell_len, set_cell_size

from control.model.display_text import clean

Look: TypeAlias = Literal[
    "",
    "frame",
    "dim",
    "bold",
    "good",
    "bad",
    "warn",
    "accent",
    "fast",
    "slow",
    "title",
    "cursor",
    "mark",
]
Span: TypeAlias = tuple[str, Look]
Line: TypeAlias = tuple[Span, ...]
Align: TypeAlias = Literal["left", "right"]

MORE: Final = "…"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_ROWS_MAX: Final = 12
_CHARS_A_CELL: Final = 16  # More marks on one character nobody can read.


def shown(text: str) -> str:
    """Text from anywhere, harmless on a terminal and on one line."""
    return text if text.isascii() and text.isprintable() else clean(text)


def width_of(line: Line) -> int:
    """Cells a line takes."""
    return sum(cell_len(text) for text, _ in line)


def cut(text: str, width: int) -> str:
    """Harmless text of at most `width` cells; `…` says that there was more."""
    text = shown(text[: _CHARS_A_CELL * width + _CHARS_A_CELL])  # An error may be a megabyte.
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + MORE if width > 0 else ""


def fit(text: str, width: int, align: Align = "left") -> str:
    """Harmless text of exactly `width` cells."""
    text = cut(text, width)
    space = " " * (width - cell_len(text))
    return space + text if align == "right" else text + space


def line(*parts: str | Span) -> Line:
    """A line of pieces; plain strings have no role. All of it is made harmless."""
    spans = (part if isinstance(part, tuple) else (part, "") for part in parts)
    return tuple((shown(text), look) for text, look in spans if text)


def fit_line(spans: Line, width: int) -> Line:
    """A line of exactly `width` cells."""
    made: list[Span] = []
    left = width
    for text, look in spans:
        taken = cell_len(text)
        if taken > left:
            made.append((cut(text, left), look))
            left = 0
            break
        made.append((text, look))
        left -= taken
    if left:
        made.append((" " * left, ""))
    return tuple(span for span in made if span[0])


@lru_cache(maxsize=64)  # A pane's lines, some of them long, again and again.
def wrapped(spans: Line, width: int) -> Sequence[Line]:
    """A line in as many lines of at most `width` cells as it takes."""
    if width <= 0 or width_of(spans) <= width:
        return (spans,)
    made: list[Line] = []
    current: list[Span] = []
    left = width
    for text, look in spans:
        for piece in chop_cells(text, left, width):
            if cell_len(piece) > left:
                made.append(tuple(current))
                current, left = [], width
            current.append((piece, look))
            left -= cell_len(piece)
    return (*made, tuple(current))


def paragraph(text: str, width: int) -> list[Line]:
    """What is said where there is nothing else: whole words, a little to the right."""
    room = max(width - 3, 1)
    rows = [""]
    for word in cut(text, room * _ROWS_MAX).split():
        for piece in chop_cells(word, room, room):
            if rows[-1] and cell_len(rows[-1]) + 1 + cell_len(piece) > room:
                rows.append("")
            rows[-1] += f" {piece}" if rows[-1] else piece
    return [line((f"  {each}", "dim")) for each in rows]


def chop_cells(text: str, first: int, width: int) -> list[str]:
    """Text in pieces: the first of at most `first` cells, all others of `width`."""
    pieces: list[str] = []
    room, taken, begin = first, 0, 0
    for at, sign in enumerate(text):
        cells = cell_len(sign)
        if taken + cells > room:
            pieces.append(text[begin:at])
            room, taken, begin = width, 0, at
        taken += cells
    return [*pieces, text[begin:]]


def spread(left: Line, right: Line, width: int) -> Line:
    """One line with something at either end; what is on the right stays whole."""
    room = max(width - width_of(right) - 1, 0)
    return (*fit_line(left, room), (" ", ""), *right) if room else fit_line(right, width)


def bar(part: float, width: int, *, track: bool = False) -> str:
    """A bar of `width` cells, `part` of 1 filled, in eighths of a cell; `track`: the rest is ░."""
    eighths = round(min(max(part, 0.0), 1.0) * width * 8)
    if part > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    return text.ljust(width, "░" if track else " ")[:width]


def spark(values: Iterable[float | None], width: int, *, top: float | None = None) -> str:
    """Values as heights over nothing, the newest at the right end; None: nothing was there.

    `top`: what a full cell stands for; the largest value where it is not given. More values than
    `width` are put together by their largest.
    """
    found = _squeezed(list(values), width)
    most = top or max((value for value in found if value is not None), default=0.0)
    return "".join(_height(value, 0.0, most) for value in found).rjust(width)


def trend(values: Iterable[float | None], width: int) -> str:
    """The same between the least and the largest value: what is always alike is half full."""
    found = _squeezed(list(values), width)
    known = [value for value in found if value is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    # Less than a quarter of the value is no reason to fill all of the height.
    spread_out = max(most - least, most / 4)
    begin = (least + most - spread_out) / 2
    return "".join(_height(value, begin, begin + spread_out) for value in found).rjust(width)


def _squeezed(values: Sequence[float | None], width: int) -> list[float | None]:
    if len(values) <= width or width <= 0:
        return list(values)[: max(width, 0)]
    made: list[float | None] = []
    for cell in range(width):
        part = values[cell * len(values) // width : (cell + 1) * len(values) // width]
        known = [value for value in part if value is not None]
        made.append(max(known) if known else None)
    return made


def _height(value: float | None, least: float, most: float) -> str:
    if value is None:
        return " "
    if most <= least or value <= least:
        return _HEIGHTS[0]
    filled = (value - least) / (most - least)
    return _HEIGHTS[min(int(filled * len(_HEIGHTS)), len(_HEIGHTS) - 1)]
