"""Owns the errors: each class says whose fault it is, its docstring is the default message.

`Rejected` is the caller's fault, `Unavailable` asks to try later, `JobFailed` is user code.
`control/api/http/problems.py` turns classes into HTTP statuses, `control/cli/errors.py` into
exit codes.
"""

from typing import Annotated

import msgspec
from msgspec import Meta


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing wrong with an input: where, what, and what would be right."""

    path: Annotated[str, Meta(description="Where it stands.", examples=["jobs[2].stage"])]
    message: Annotated[
        str, Meta(description="What is wrong.", examples=["the stage is not defined"])
    ]
    line: Annotated[int | None, Meta(description="In YAML input, from 1.", examples=[12])] = None
    hint: Annotated[
        str | None, Meta(description="What would be right.", examples=["one of: a, b"])
    ] = None


class TaskplaneError(Exception):
    """Something went wrong in Taskplane."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class Rejected(TaskplaneError):
    """The request cannot be carried out as it stands."""


class Invalid(Rejected):
    """The input is not valid; every problem found is listed."""

    def __init__(self, problems: "tuple[Problem, ...]", message: str | None = None) -> None:
        super().__init__(message or _summary(problems))
        self.problems = problems


class NotFound(Rejected):
    """There is no such thing here."""


class Conflict(Rejected):
    """What was asked does not fit the present state."""


class IllegalTransition(Conflict):
    """This state cannot be left in the way that was asked."""


class Forbidden(Rejected):
    """The client's role does not allow this."""


class Unauthenticated(Rejected):
    """The client id or its secret is missing or wrong."""


class QueueFull(Rejected):
    """The queue is at its limit; try again later."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Busy(QueueFull):
    """The caller has its whole share of something, or everything of it is taken."""


class ProtocolError(Rejected):
    """The other side sent a frame that the protocol does not allow here."""


class Unavailable(TaskplaneError):
    """Not possible right now; try again later."""


class StoreFailed(Unavailable):
    """The state database could not be written; nothing of the request was stored."""


class BusUnavailable(Unavailable):
    """The bus cannot be reached."""


class BalancerSilent(Unavailable):
    """No balancer has answered."""


class PartitionsLost(BusUnavailable):
    """The group has taken this member for dead, and given its partitions to another one."""


class ConfigError(TaskplaneError):
    """The configuration is not valid."""


class JobFailed(TaskplaneError):
    """The job's own work failed."""

    def __init__(
        self,
        message: str | None = None,
        *,
        exit_code: int | None = None,
        final: bool = False,
        details: msgspec.Raw | None = None,
    ) -> None:
        """`final`: it would fail again, so it is not retried. `details`: as those of a result."""
        super().__init__(message)
        self.exit_code = exit_code
        self.final = final
        self.details = details


def _summary(problems: "tuple[Problem, ...]") -> str:
    if len(problems) == 1:
        only = problems[0]
        return f"{only.path}: {only.message}" if only.path else only.message
    return f"{len(problems)} problems found"
