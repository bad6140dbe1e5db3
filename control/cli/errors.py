"""Decides what went wrong in words, and the exit code: one table by class, one by HTTP status."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

from control.model.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    QueueFull,
    Rejected,
    TaskplaneError,
    Unauthenticated,
    Unavailable,
)


class ExitCode(IntEnum):
    """What scripts rely on."""

    OK = 0
    ENDED_BADLY = 1
    USAGE = 2
    NOT_ALLOWED = 3
    REFUSED = 4
    SERVER = 5
    TIMED_OUT = 6
    UNREACHABLE = 7
    INTERRUPTED = 130


class UsageError(TaskplaneError):
    """The command line asks for what cannot be."""


class OutputFailed(TaskplaneError):
    """Standard output cannot be written."""


class Unreachable(TaskplaneError):
    """The control plane cannot be reached."""


class WaitTimedOut(TaskplaneError):
    """It did not end in time."""


class ServerFailed(TaskplaneError):
    """The server failed."""


# The nearest class in an error's MRO wins.
EXIT_CODES: Final[Mapping[type[TaskplaneError], ExitCode]] = {
    UsageError: ExitCode.USAGE,
    OutputFailed: ExitCode.USAGE,
    ConfigError: ExitCode.USAGE,
    Invalid: ExitCode.USAGE,
    Unauthenticated: ExitCode.NOT_ALLOWED,
    Forbidden: ExitCode.NOT_ALLOWED,
    Rejected: ExitCode.REFUSED,
    WaitTimedOut: ExitCode.TIMED_OUT,
    Unreachable: ExitCode.UNREACHABLE,
    TaskplaneError: ExitCode.SERVER,
}
_BY_STATUS: Final[Mapping[int, type[TaskplaneError]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    503: Unavailable,
}
_INVALID: Final = frozenset({400, 413, 415, 422})
_REFUSED: Final = range(400, 500)
_TOO_MANY: Final = 429
_RETRY_AFTER_S: Final = 5
_STRANGE: Final = "is this a control plane's API? It answered with status"


class _ProblemBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of an error (RFC 9457)."""

    detail: str | None = None
    title: str | None = None
    problems: tuple[Problem, ...] = ()


def exit_code(error: TaskplaneError) -> ExitCode:
    """The exit code of an error of ours."""
    return next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES)


def error_of(status: int, body: bytes, retry_after: str | None = None) -> TaskplaneError:
    """The error that an answer stands for; its class decides the exit code."""
    try:
        problem = msgspec.json.decode(body, type=_ProblemBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _ProblemBody()  # A proxy, or something that is no control plane.
    message = problem.detail or problem.title or f"{_STRANGE} {status}"
    if status in _INVALID:
        return Invalid(problem.problems, message)
    if status == _TOO_MANY:
        wait = int(retry_after) if retry_after and retry_after.isdecimal() else _RETRY_AFTER_S
        return QueueFull(f"{message}; try again in {wait} s", wait)
    error_class = _BY_STATUS.get(status)
    if error_class is not None:
        return error_class(message)
    return Conflict(message) if status in _REFUSED else ServerFailed(message)


def in_words(error: TaskplaneError) -> list[str]:
    """The lines that describe an error: the sentence, then each problem."""
    if not isinstance(error, Invalid) or not error.problems:
        return [str(error)]
    if len(error.problems) == 1:
        return [problem_in_words(error.problems[0])]
    return [str(error), *(f"  {problem_in_words(problem)}" for problem in error.problems)]


def problem_in_words(problem: Problem) -> str:
    """`path (line N): message — hint`."""
    line = f"line {problem.line}" if problem.line else ""
    where = f"{problem.path} ({line})" if problem.path and line else problem.path or line
    hint = f" — {problem.hint}" if problem.hint else ""
    return f"{where}: {problem.message}{hint}" if where else f"{problem.message}{hint}"
