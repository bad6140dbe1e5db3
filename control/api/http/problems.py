"""Decides what an error looks like outside: RFC 9457 problem details, status by class.

The nearest class in an error's MRO wins. What is nobody's fault outside says nothing of the inside.
"""

import re
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from control.model import limits
from control.model.errors import (
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

MEDIA: Final = "application/problem+json"
CHALLENGE: Final = 'Basic realm="taskplane", charset="UTF-8"'


class Malformed(Rejected):
    """The body is not what its content type says."""


class TooSlow(Rejected):
    """The body arrives too slowly."""


class MethodNotAllowed(Rejected):
    """There is something here, but not for this method."""


class TooLarge(Rejected):
    """The body is larger than anything the API takes."""


class UnsupportedMedia(Rejected):
    """The body's content type is not one this call takes."""


class UpgradeRequired(Rejected):
    """This is a websocket; connect to it as one."""


STATUS: Final[dict[type[TaskplaneError], int]] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    TooSlow: 408,
    Conflict: 409,
    Rejected: 409,
    TooLarge: 413,
    UnsupportedMedia: 415,
    Invalid: 422,
    UpgradeRequired: 426,
    QueueFull: 429,
    Unavailable: 503,
    TaskplaneError: 500,
}
WORDS: Final = {
    400: "The body is not valid JSON (or YAML), or not text.",
    401: "The credentials are missing or wrong.",
    403: "The client's role, or whose it is, does not allow this.",
    404: "There is no such thing.",
    405: "Not for this method; `Allow` lists those that are.",
    408: "The body arrived too slowly.",
    409: "It does not fit the present state.",
    413: "The body is too large.",
    415: "The body's content type is not one of those listed.",
    422: "What was sent is not valid; every problem found is listed.",
    426: "This is a websocket.",
    429: "A queue or the client's share is full; nothing of the request was stored.",
    500: "An error of the server.",
    503: "Not possible right now; try again later.",
}


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An error (RFC 9457)."""

    type: Annotated[
        str, Meta(description="Which error.", examples=["urn:taskplane:problem:not-found"])
    ]
    title: Annotated[str, Meta(description="The status in words.", examples=["Not Found"])]
    status: Annotated[int, Meta(description="The HTTP status.", examples=[404])]
    detail: Annotated[
        str, Meta(description="What happened, in words.", examples=["there is no run 4711"])
    ]
    problems: Annotated[
        list[Problem], Meta(description="Each thing that is wrong with what was sent.")
    ] = []


def status_of(error: TaskplaneError) -> int:
    """The HTTP status of an error of ours."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def details(error: TaskplaneError) -> ProblemDetails:
    """What a client is told of an error of ours."""
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return UNEXPECTED
    return ProblemDetails(
        type=f"urn:taskplane:problem:{_kebab(type(error).__name__)}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=str(error),
        problems=list(error.problems) if isinstance(error, Invalid) else [],
    )


def headers(error: TaskplaneError) -> dict[str, str]:
    """What the answer's head says besides."""
    if isinstance(error, QueueFull):
        return {"retry-after": str(error.retry_after_s)}
    if isinstance(error, Unavailable):
        return {"retry-after": str(limits.RETRY_AFTER_S)}
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": CHALLENGE}
    return {}


def one(path: str, message: str, hint: str | None = None) -> Invalid:
    """An input with one thing wrong."""
    return Invalid((Problem(path=path, message=message, hint=hint),))


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


UNEXPECTED: Final = ProblemDetails(
    type="urn:taskplane:problem:internal",
    title=HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
    status=500,
    detail="something went wrong here; the server's log says what",
)
