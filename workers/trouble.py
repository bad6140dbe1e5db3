"""Decides whose fault it is that something cannot be started: the job's, or the worker's.

Who is out of descriptors, processes, memory, or disk will fail the next job as well: it hands the
attempt back, as nothing of it was done, and says that it is sick.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from control.model.errors import JobFailed, TaskplaneError

_EXHAUSTED: Final = frozenset(
    {
        *(errno.EMFILE, errno.ENFILE),  # Descriptors, of the process or the system.
        *(errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS),  # Processes, memory.
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),  # Disk.
        *(errno.EPIPE, errno.ECONNRESET),  # What starts processes was killed.
    }
)


class WorkerTrouble(TaskplaneError):
    """The worker cannot start anything now, and why."""


@contextmanager
def starting(what: str) -> Iterator[None]:
    """Around what comes before the first step of a job; raises WorkerTrouble or JobFailed."""
    try:
        yield
    except (OSError, ValueError) as error:
        message = f"{what} could not be started: {error}"
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            raise WorkerTrouble(message) from error
        raise JobFailed(message) from error


def of_exhaustion(error: BaseException | None) -> OSError | None:
    """The worker's own trouble among the causes of an error, if there is one."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
            return error
        error = error.__cause__ or error.__context__
    return None
