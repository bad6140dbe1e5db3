"""Decides what a parameter is, which place an error means, and which statements only read."""

import datetime

import pytest

from control.model.errors import JobFailed
from workers.kinds.query.statement import Statement, StatementPosition
from workers.kinds.query.values import clock_form, json_form, timestamp_form


@pytest.mark.parametrize(
    ("sql", "sent", "names"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ["a", "b"]),
        ("SELECT :day::date, x::int, '12:30'", "SELECT $1 ::date, x::int, '12:30'", ["day"]),
        (r"SELECT 'at \:noon', '100%'", "SELECT 'at :noon', '100%'", []),
        ("SELECT x[1:2], $$ :a $$", "SELECT x[1:2], $$ $1 $$", ["a"]),
    ],
)
def test_parameters_are_numbered(sql: str, sent: str, names: list[str]) -> None:
    statement = Statement(sql, dict.fromkeys(names, 1))
    assert (statement.numbered, [*statement.values]) == (sent, names)


def test_every_character_has_its_position() -> None:
    sql = "SELECT :first::date,\n  '\\:x', :b, ☃ FROM :first \n WHERE y"
    statement = Statement(sql, {"first": 1, "b": 2})
    assert "$1 ::date" in statement.numbered
    for character in ("S", "date", "'", "x", "☃", "FROM", "WHERE", "y"):
        index = sql.index(character)
        line, column = sql.count("\n", 0, index), index - sql.rfind("\n", 0, index)
        position = statement.position(statement.numbered.index(character))
        assert position == StatementPosition(line + 1, column)
    assert statement.position(len(statement.numbered)).line == 3


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, r"names the parameter :a, which `parameters` lacks; .* written \\:a"),
        ({"a": 1, "b": 2}, "`parameters` has b, which sql does not name; write :b there"),
    ],
)
def test_names_must_be_the_same(parameters: dict[str, int], words: str) -> None:
    with pytest.raises(JobFailed, match=words) as caught:
        Statement("SELECT :a", parameters)
    assert caught.value.final


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("  -- a comment\n/* or\ntwo */ (with a AS (values (1)) TABLE a)", True),
        ("FROM t", True),
        ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", False),
        ("SELECT * FROM t FOR UPDATE", False),
        ("SELECT 1 INTO t", False),
        ("update t set a = 1", False),
        ("EXPLAIN ANALYZE DELETE FROM t", False),
    ],
)
def test_what_only_reads_may_be_stopped(sql: str, reads: bool) -> None:
    assert Statement(sql, {}).reads_only is reads


def test_times() -> None:
    assert timestamp_form("2026-01-31 12:30:00.5+05:30") == "2026-01-31T12:30:00.5+05:30"
    assert timestamp_form("2026-01-31 12:30:00-03") == "2026-01-31T12:30:00-03:00"
    assert timestamp_form("0044-03-15 00:00:00 BC") == "0044-03-15 00:00:00 BC"
    assert clock_form(datetime.timedelta(hours=-838, minutes=-59, seconds=-59)) == "-838:59:59"
    assert clock_form(datetime.timedelta(seconds=1, microseconds=500)) == "00:00:01.000500"


def test_whole_numbers_that_a_double_cannot_hold_are_text() -> None:
    assert json_form(2**53 - 1) == 2**53 - 1
    assert json_form(-(2**53)) == str(-(2**53))
    assert json_form({1: (True, b"\x00")}) == {"1": [True, {"base64": "AA=="}]}
