"""Owns rows of cells that are painted piece by piece, and how instants fall into them."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from tui.core.spans import Line, Look, Span, fit_line

Cells = list[Span]


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Time along a row: `cells` cells from one instant to another."""

    begin_ms: int
    end_ms: int
    cells: int

    def cell(self, at_ms: int) -> int:
        """The cell of an instant; before the first or after the last where it is outside."""
        return (at_ms - self.begin_ms) * self.cells // max(self.end_ms - self.begin_ms, 1)

    def at(self, cell: int) -> int:
        """The instant at which a cell begins."""
        return self.begin_ms + (self.end_ms - self.begin_ms) * cell // max(self.cells, 1)


def blank(cells: int, sign: str = " ", look: Look = "") -> Cells:
    """A row of the same cell."""
    return [(sign, look)] * max(cells, 0)


def paint(row: Cells, begin: int, end: int, sign: str, look: Look = "") -> None:
    """Put a sign of one cell into the cells from `begin` to before `end` that the row has."""
    first, last = max(begin, 0), min(end, len(row))
    if first < last:
        row[first:last] = [(sign, look)] * (last - first)


def write(row: Cells, begin: int, text: str, look: Look = "") -> None:
    """Put text of narrow characters into a row; what does not fit is left out."""
    for at, sign in enumerate(text, begin):
        paint(row, at, at + 1, sign, look)


def joined(row: Iterable[Span]) -> Line:
    """Cells as a line: neighbours of one look are one piece."""
    return tuple(
        ("".join(text for text, _ in alike), look)
        for look, alike in groupby(row, key=itemgetter(1))
    )


def inset(lines: Sequence[Line], width: int, height: int | None = None) -> list[Line]:
    """Lines for a box of `width` cells: one cell stays free at each side; `height`: at most."""
    room = max(width - 2, 0)
    kept = lines if height is None else lines[: max(height, 0)]
    return [fit_line(((" ", ""), *fit_line(each, room)), width) for each in kept]
