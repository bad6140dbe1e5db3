"""Owns what a hostile server may send, and what no line on the screen may be whatever it sends."""

import unicodedata
from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from control.model.times import to_rfc3339
from tests.tui.samples import NOW
from tui.core.spans import Line, width_of

_WORST: Final = (
    "[/x] [b] \\[ \x1b]0;x\x07",
    "\x1b[31mred\x1b[0m",
    "\x9b31m \x85 \x7f",
    "\u202eabc\u2066\u2069\u200f",
    "日本語の名前" * 3,
    "👩‍👩‍👧‍👦e\u0301\u0301",
    "unit-\n\r\t007",
    "",
    "x" * 100_000,
    "語" * 50_000,
)
texts: Final = st.one_of(
    st.sampled_from(_WORST), st.text(max_size=40), st.text("ab\x1b\x9b[]語-1", max_size=12)
)
times: Final = st.one_of(
    st.integers(NOW - 10**7, NOW + 10**7).map(to_rfc3339),
    st.sampled_from(["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "soon", "\x1b[2J"]),
)
maybe_times: Final = st.one_of(st.none(), times)
seconds: Final = st.one_of(
    st.floats(0, 10**6), st.sampled_from([0.0, 1e-9, 1e15, 1e300]), st.integers(0, 500).map(float)
)
counts: Final = st.one_of(st.integers(0, 300), st.sampled_from([10**6, 10**15]))
widths: Final = st.one_of(st.integers(0, 12), st.integers(12, 220), st.sampled_from([28, 58, 118]))
heights: Final = st.integers(0, 14)

_FORBIDDEN: Final = {"Cc", "Cs", "Zl", "Zp"}
_TURNING: Final = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check(lines: Sequence[Line], width: int, height: int | None = None) -> None:
    """No line is wider than its box, and nothing in it is a command to the terminal."""
    assert height is None or len(lines) <= height
    for line in lines:
        assert width_of(line) <= width
        for text, _ in line:
            assert not {unicodedata.category(sign) for sign in set(text)} & _FORBIDDEN
            assert not set(text) & _TURNING


def drawn(lines: Sequence[Line]) -> list[str]:
    """The lines as text, without what is empty at their ends."""
    return ["".join(text for text, _ in line).rstrip() for line in lines]
