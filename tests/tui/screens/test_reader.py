"""Decides that a pane of text can be read whole, found in, and followed."""

import asyncio
from collections.abc import Awaitable, Callable

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tui.core.spans import line
from tui.widgets.reader import LINES_MAX, TextReader

_WIDTH, _HEIGHT = 22, 7  # With the frame: 20 cells in 5 rows.
_LONG = "".join(f"<{number:04}>" for number in range(40))


class _App(App[None]):
    def __init__(self, *, follows: bool) -> None:
        super().__init__()
        self.reader = TextReader(id="text", follows=follows)

    def compose(self) -> ComposeResult:
        yield self.reader


def _read(
    body: Callable[[TextReader, Pilot[None]], Awaitable[None]], *, follows: bool = False
) -> None:
    async def run() -> None:
        app = _App(follows=follows)
        async with app.run_test(size=(_WIDTH, _HEIGHT)) as pilot:
            await body(app.reader, pilot)

    asyncio.run(run())


def _rows(reader: TextReader) -> list[str]:
    """What is in view."""
    found = reader.content(_WIDTH - 2, _HEIGHT - 2)
    return ["".join(text for text, _ in spans) for spans, _ in found]


def _follows(reader: TextReader) -> bool:
    return reader.following


def test_every_row_of_a_line_longer_than_the_pane_can_be_scrolled_to() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.replace([line("begin"), line(_LONG), line("end")])
        seen = _rows(reader)
        while not _follows(reader):
            reader.action_scroll_by(1)
            if _rows(reader)[-1] != seen[-1]:
                seen.append(_rows(reader)[-1])
        assert "".join(seen) == f"begin{_LONG}end"
        back = _rows(reader)
        while _follows(reader) or _rows(reader)[0] != "begin":
            reader.action_scroll_by(-1)
            if _rows(reader)[0] != back[0]:
                back.insert(0, _rows(reader)[0])
        assert back == seen

    _read(body)


def test_what_is_sought_is_shown_where_it_is_in_its_line() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.replace([line("<0031>"), line(_LONG), *[line("x")] * 9])
        reader.seek("<0032>")  # As no row begins with it, it is in the middle of one.
        assert "<0032>" in _rows(reader)[0]

    _read(body)


def test_the_next_and_the_last_hit_are_found_even_where_the_text_ends() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.replace(line(f"{'hit' if at in {0, 3, 17, 19} else 'no'} {at}") for at in range(20))
        reader.seek("hit")
        found = [_hit(reader)]
        for _again in range(4):
            reader.action_hit(1)
            found.append(_hit(reader))
        assert found == [0, 3, 17, 19, 0]
        reader.action_hit(-1)
        assert _hit(reader) == 19
        reader.action_scroll_home()
        reader.action_hit(1)
        assert _hit(reader) == 3

    def _hit(reader: TextReader) -> int | None:
        assert any(over == "mark" for _, over in reader.content(_WIDTH - 2, _HEIGHT - 2))
        return reader._hit  # noqa: SLF001 - Near the end, more than one hit is in view.

    _read(body)


def test_what_is_followed_stays_at_its_end_and_what_is_not_stays_where_it_is() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.extend([line(_LONG)])
        assert _rows(reader)[-1].endswith("<0039>")
        reader.extend([line("more")])
        assert _rows(reader)[-1] == "more"
        reader.action_scroll_by(-3)
        before = _rows(reader)
        reader.extend([line("and more")] * (LINES_MAX - 2))
        assert _rows(reader) == before
        reader.action_scroll_end()
        assert _rows(reader)[-1] == "and more"
        reader.action_wrap()
        assert _rows(reader)[-1] == "and more"

    _read(body, follows=True)


def test_another_width_keeps_the_end_in_view() -> None:
    async def body(reader: TextReader, pilot: Pilot[None]) -> None:
        reader.extend([line(_LONG), line("last")])
        assert _rows(reader)[0] == _LONG[160:180]
        await pilot.resize_terminal(32, _HEIGHT)
        while reader.size.width != 32:
            await pilot.pause()
        rows = ["".join(text for text, _ in spans) for spans, _ in reader.content(30, 5)]
        assert rows == [_LONG[at : at + 30] for at in range(120, 240, 30)] + ["last"]

    _read(body, follows=True)


def test_a_line_that_is_cut_and_wrapped_again_stays_in_view() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.replace([line("begin"), line(_LONG), *[line("x")] * 30])
        for _row in range(9):
            reader.action_scroll_by(1)
        assert _rows(reader)[0] == _LONG[160:180]
        reader.action_wrap()
        assert _rows(reader)[0].startswith(_LONG[:20])
        reader.action_wrap()
        assert _rows(reader)[0] == _LONG[:20]

    _read(body)


def test_what_is_emptied_has_nothing_to_scroll_to() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.extend([line(f"hit {number}") for number in range(100)])
        reader.seek("hit")
        reader.action_scroll_end()
        reader.replace([])
        for turn in (1, -1):
            reader.action_scroll_by(turn)
            reader.action_hit(turn)
        assert not any(_rows(reader))
        reader.extend([line("hit again")])
        reader.action_hit(1)
        assert _rows(reader) == ["hit again"]

    _read(body, follows=True)


def test_a_hit_over_two_rows_is_shown_where_it_begins() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.replace([line(_LONG), *[line("x")] * 9])
        reader.seek(_LONG[95:105])
        assert _rows(reader)[0] == _LONG[80:100]

    _read(body)


def test_after_following_the_next_hit_is_sought_from_what_is_in_view() -> None:
    async def body(reader: TextReader, _: Pilot[None]) -> None:
        reader.extend(line(f"{'hit' if at in {3, 40, 98} else 'no'} {at}") for at in range(100))
        reader.seek("hit")
        reader.action_hit(-1)
        assert _rows(reader)[0] == "hit 40"
        reader.action_follow()
        reader.action_hit(-1)
        assert _rows(reader)[0] == "hit 40"

    _read(body, follows=True)
