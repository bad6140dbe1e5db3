"""Filters: each term's meaning, every refusal in words, and laws that hold whatever is typed."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.model.filters import Filter, FilterInvalid, Kind, parse

FIELDS: dict[str, Kind] = {
    "pipeline": "text",
    "state": "text",
    "worker": "text",
    "id": "text",
    "n": "number",
    "p95": "seconds",
    "wait.p95": "seconds",
}
ROW: dict[str, str | float | None] = {
    "pipeline": "Nightly Report",
    "state": "IN_PROGRESS",
    "worker": None,
    "id": 90412,
    "n": 1200,
    "p95": 11.5,
    "wait.p95": None,
}
TEXTS = ("Nightly Report", "IN_PROGRESS", "waits for a free slot")


def kept(text: str) -> bool:
    return parse(text, FIELDS).matches(ROW.get, TEXTS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "nightly",
        "NIGHT free",
        '"nightly report"',
        '"a free slot" report',
        "!weekly",
        "!!nightly",
        "~nrp",
        "!~pn",
        "pipeline:report",
        'pipeline:"ly rep"',
        'PIPELINE:="nightly report"',
        "!pipeline:weekly",
        "id:904",
        "state:in_progress",
        "state:running",
        "state:RUNNING",
        "state:open",
        "!state:error",
        "state:prog",
        'worker:=""',
        "!worker:w-1",
        "n:1200",
        "n:=1.2k",
        "n:>1k",
        "n:>=1200 n:<=1200",
        "n:<1M",
        "n:>-1",
        "p95:>10s",
        "p95:>11499ms",
        "p95:<0.2m",
        "p95:<1h",
        "p95:<1d",
        "p95:11.5",
        "!wait.p95:>0",
        "!wait.p95:<=0",
    ],
)
def test_terms_that_keep_the_row(text: str) -> None:
    assert kept(text)


@pytest.mark.parametrize(
    "text",
    [
        "weekly",
        "nightly weekly",
        '"report nightly"',
        "!nightly",
        "~nrpx",
        "pipeline:slot",
        "pipeline:=nightly",
        "state:error",
        "state:ready",
        "state:done",
        "worker:w-1",
        "n:120",
        "n:>1.2k",
        "p95:<=11",
        "wait.p95:>0",
        "wait.p95:<=0",
        '"!weekly"',
        '"pipeline:report"',
        '"~nrp"',
    ],
)
def test_terms_that_do_not(text: str) -> None:
    assert not kept(text)


def test_open_is_every_state_that_is_not_final() -> None:
    wanted = parse("state:open", FIELDS)
    open_ones = {
        state
        for state in ("READY", "IN_PROGRESS", "DONE", "ERROR", "CANCELLED")
        if wanted.matches({"state": state}.get, ())
    }
    assert open_ones == {"READY", "IN_PROGRESS"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("color:red", "there is no field 'color'; those there are: pipeline, state, worker"),
        (":x", "there is no field ''"),
        ("n:many", "'many' is nothing that n can be; write a number like 3, 0.5, 20k or 1M"),
        ("n:5m", "'5m' is nothing that n can be; write a number"),
        ("p95:5M", "'5M' is nothing that p95 can be; write a length of time like 10s"),
        ("p95:>", "p95:> needs a value after it"),
        ("p95:>=", "p95:>= needs a value after it"),
        ("pipeline:", "pipeline: needs a value after it"),
        ("pipeline:>a", "pipeline is text, which > cannot compare; write pipeline:word"),
        ("!", "a word to look for is missing after !"),
        ("a !! b", "a word to look for is missing after !"),
        ("~", "a word to look for is missing after ~"),
        ('""', "a word is empty"),
        ('a "b', 'a quote is not closed: write " before and after'),
    ],
)
def test_what_cannot_be_understood_is_said_in_words(text: str, words: str) -> None:
    with pytest.raises(FilterInvalid) as refused:
        parse(text, FIELDS)
    assert str(refused.value).startswith(words)


def test_an_empty_filter_keeps_nothing_back_and_is_false() -> None:
    assert not parse(" ", FIELDS)
    assert parse("a", FIELDS)
    assert parse(" a  b ", FIELDS).text == "a  b"


def tried(text: str) -> Filter | None:
    try:
        return parse(text, FIELDS)
    except FilterInvalid:
        return None


PIECES = st.sampled_from(
    [*FIELDS, *'!~:=<>" \t.-+k', ">=", "<=", "5", "1.5", "ms", "night", "open", "İ", "ß", "\x1c"]
)
TYPED = st.text() | st.lists(PIECES).map("".join)


@given(text=TYPED, texts=st.lists(st.text()), value=st.none() | st.floats() | st.text())
@example(text="n:" + "9" * 5_000, texts=[], value=float("nan"))
def test_whatever_is_typed_is_a_filter_or_refused_and_says_itself_again(
    text: str, texts: list[str], value: str | float | None
) -> None:
    found = tried(text)
    if found is None:
        return
    assert found.matches(lambda _: value, iter(texts)) in {True, False}
    assert parse(found.text, FIELDS) == found


@given(text=TYPED, texts=st.lists(st.text()), value=st.none() | st.floats() | st.text())
def test_turned_round_a_term_keeps_exactly_the_other_rows(
    text: str, texts: list[str], value: str | float | None
) -> None:
    # A term has no blank of its own, so what is typed is made into one.
    term = "".join(character for character in text if not character.isspace())
    found, turned = tried(term), tried(f"!{term}")
    assert (found is None or not found) == (turned is None)
    if found and turned:
        assert turned.matches(lambda _: value, texts) is not found.matches(lambda _: value, texts)


@given(first=TYPED, second=TYPED, texts=st.lists(st.text()))
def test_all_terms_must_hold(first: str, second: str, texts: list[str]) -> None:
    one, other = tried(first), tried(second)
    if one is not None and other is not None:
        both = parse(f"{first} {second}", FIELDS)
        assert both.matches(ROW.get, texts) == (
            one.matches(ROW.get, texts) and other.matches(ROW.get, texts)
        )
