"""Checks the two tables of errors: by HTTP status, and by class to exit code."""

import msgspec
import pytest

from control.cli.errors import Unreachable, UsageError, WaitTimedOut, error_of, exit_code, in_words
from control.model.errors import ConfigError, Invalid, Problem, TaskplaneError


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 2),
        (413, 2),
        (415, 2),
        (422, 2),
        (401, 3),
        (403, 3),
        (404, 4),
        (405, 4),
        (409, 4),
        (426, 4),
        (429, 4),
        (500, 5),
        (502, 5),
        (503, 5),
    ],
)
def test_every_status_has_an_exit_code(status: int, code: int) -> None:
    assert exit_code(error_of(status, b"")) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError(), 2),
        (ConfigError(), 2),
        (WaitTimedOut(), 6),
        (Unreachable(), 7),
        (TaskplaneError(), 5),
    ],
)
def test_our_own_errors_have_an_exit_code(error: TaskplaneError, code: int) -> None:
    assert exit_code(error) == code


def test_a_servers_problems_are_told_one_by_one() -> None:
    body = msgspec.json.encode(
        {
            "detail": "2 problems found",
            "problems": [
                {"path": "jobs[0].kind", "message": "no such kind", "line": 4, "hint": "Shell?"},
                {"path": "", "message": "too long"},
            ],
        }
    )
    assert in_words(error_of(422, body)) == [
        "2 problems found",
        "  jobs[0].kind (line 4): no such kind — Shell?",
        "  too long",
    ]


def test_one_problem_takes_one_line() -> None:
    error = Invalid((Problem(path="name", message="missing", line=1),))
    assert in_words(error) == ["name (line 1): missing"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff", b'{"detail": 3}'])
def test_a_stranger_is_told_by_its_status(body: bytes) -> None:
    assert str(error_of(502, body)) == "is this a control plane's API? It answered with status 502"


def test_a_full_queue_says_when_to_come_back() -> None:
    assert str(error_of(429, b'{"detail": "full"}', "7")) == "full; try again in 7 s"
