"""Decides that a job's log, whatever is in it and however it comes, is only text."""

import asyncio
import itertools
import unicodedata
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from control.model.api.views import Page
from tests.tui.samples import a_job, a_run
from tests.tui.sources import (
    Canned,
    drive,
    press,
    snapshot,
    typed,
    until,
)
from tests.tui.worst import FORBIDDEN, TURNING, WORST, checked
from tui.app import Console
from tui.screens.logs import LogFeed
from tui.screens.run import RunDetail
from tui.widgets.reader import TextReader

_LOG: Final = (
    WORST.encode("utf-8", "surrogatepass")
    + b"\n\xff\xfe broken \xe6\x97\n"
    + b"x" * 100_000
    + b"\n\x1b[31mred\x1b[0m\r\n"
    + "語".encode() * 40_000
    + b"\n\x1b]0;title"
)


_Pieces = list[bytes]


def _read(pieces: _Pieces) -> list[str]:
    """The lines that a log in these pieces has."""
    source = Canned()
    source.pieces = pieces
    feed = LogFeed(source, 1, 1)
    asyncio.run(feed.run())
    return ["".join(text for text, _ in line) for line in feed.take()]


def _cut(data: bytes, places: list[int]) -> _Pieces:
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise([0, *ends])]


_PLACES = st.lists(st.one_of(st.integers(0, 120), st.integers(0, len(_LOG))), max_size=30)


@settings(max_examples=40)
@given(places=_PLACES)
def test_a_log_is_the_same_in_any_pieces(places: list[int]) -> None:
    whole = _read([_LOG])
    assert _read(_cut(_LOG, places)) == whole
    assert any("broken" in line for line in whole)
    assert len(max(whole, key=len)) < 3_000
    for text in whole:
        assert not {unicodedata.category(sign) for sign in set(text)} & FORBIDDEN
        assert not set(text) & TURNING


@settings(max_examples=60)
@given(data=st.binary(max_size=60), places=_PLACES)
def test_any_bytes_are_a_log(data: bytes, places: list[int]) -> None:
    whole = _read([data])
    assert _read(_cut(data, places)) == whole
    for text in whole:
        assert not {unicodedata.category(sign) for sign in set(text)} & FORBIDDEN


def test_the_end_of_a_log_without_a_newline_is_shown() -> None:
    assert [text.strip() for text in _read([b"one\ntw", b"o\xe6"])] == ["one", "two\ufffd"]
    assert [text.strip() for text in _read([b"one\n", b"\xe6"])] == ["one", "\ufffd"]


def test_a_hostile_log_on_the_screen() -> None:
    source = Canned(snapshot(runs=[a_run(id=1)]))
    source.pieces = _cut(_LOG, [3, 17, 40, 41, 42, 90_000])
    job = a_job(7, "unit", "build", started=-3, run_id=1)
    source.answers = {
        "/v1/runs/1": a_run(id=1),
        "/v1/runs/1/jobs": Page(items=[job]),
        "/v1/jobs/7": job,
    }

    async def body(app: Console, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: app.store.role is not None)
        app.navigation.open_run(1)
        await until(pilot, lambda: isinstance(app.screen, RunDetail) and app.screen.is_mounted)

        def has_come() -> bool:
            app.flush_view()
            return len(app.screen.query_one(TextReader).lines) >= len(_read_lines)

        _read_lines = ["one", "two", "three", "four", "five"]
        await until(pilot, has_come, "the log")
        await press(pilot, "l", "w")
        await checked(app, pilot)
        await press(pilot, "w", "g", "j", "G", "k", "m", "ctrl+u", "F")
        await checked(app, pilot)
        await typed(pilot, "/x")
        await press(pilot, "n", "N")
        await checked(app, pilot)

    drive(source, body)
