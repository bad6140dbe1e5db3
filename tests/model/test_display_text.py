"""Checks that text from elsewhere never commands a terminal, and that numbers read well."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.model import display_text

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_noise = st.text(
    st.sampled_from("ab\x1b[]0;m1Hc\\P\x07\x9b\x9d\r\n\t\x00\x85é✓") | st.characters(), max_size=60
)


@given(_noise)
def test_a_cell_is_one_line_without_control_characters(value: str) -> None:
    shown = display_text.clean(value)
    assert not _CONTROL.search(shown)
    assert "\n" not in shown
    assert "\t" not in shown
    shown.encode()


@given(_noise, st.booleans(), st.lists(st.integers(1, 5), max_size=30))
def test_a_log_keeps_colours_only_however_it_is_cut(
    value: str, colour: bool, cuts: list[int]
) -> None:
    body = value.encode(errors="surrogatepass")
    whole = display_text.LogCleaner(colour=colour)
    expected = whole.feed(body) + whole.finish()
    cleaner, shown = display_text.LogCleaner(colour=colour), ""
    for length in cuts:
        shown += cleaner.feed(body[:length])
        body = body[length:]
    shown += cleaner.feed(body) + cleaner.finish()
    assert shown == expected
    assert not _CONTROL.search(_COLOUR.sub("", shown) if colour else shown)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\n\ttext\n", "plain\n\ttext\n"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (b"\x1b]0;your title\x07after", "after"),
        (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b[2J\x1b[1;1Hcleared", "cleared"),
        (b"10%\r20%\r\ndone", "10%\n20%\ndone"),
        (b"\xc2\x9b31mC1", "31mC1"),
        (b"half \xc3", "half \ufffd"),
    ],
)
def test_logs_on_a_terminal(raw: bytes, shown: str) -> None:
    cleaner = display_text.LogCleaner(colour=True)
    assert cleaner.feed(raw) + cleaner.finish() == shown


def test_json_for_a_terminal_is_the_same_value() -> None:
    assert display_text.clean_json('"a\x9bb\u202e"') == '"a\\u009bb\\u202e"'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.00s"),
        (9.994, "9.99s"),
        (12.34, "12.3s"),
        (200, "3m20s"),
        (7_500, "2h05m"),
        (360_000, "4d04h"),
        (8_640_000, "100d"),
    ],
)
def test_lengths_of_time(value: float, shown: str) -> None:
    assert display_text.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (1023, "1023"), (2048, "2.0K"), (3 << 20, "3.0M")]
)
def test_sizes(value: int, shown: str) -> None:
    assert display_text.size(value) == shown


def test_instants_are_told_from_now() -> None:
    now_ms = 1_700_000_000_000
    assert display_text.relative("2023-11-14T22:13:10.000Z", now_ms) == "10s"
    assert display_text.relative("2023-11-14T23:13:20.000Z", now_ms) == "in 1h00m"
    assert display_text.since("2023-11-14T22:13:10.000Z", now_ms) == "10s ago"
    assert display_text.relative("yester\x1bday", now_ms) == "yester\\x1bday"
