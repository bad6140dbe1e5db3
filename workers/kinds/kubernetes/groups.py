"""Owns how a failure leaves nurseries: as itself, not in the groups that they wrap it in."""

from collections.abc import Iterator
from contextlib import contextmanager

from control.model.errors import JobFailed
from workers.trouble import WorkerTrouble


@contextmanager
def first_failure() -> Iterator[None]:
    """Around a nursery: raises one JobFailed or WorkerTrouble of its tasks instead of a group.

    Where a task was cancelled from outside, or has a bug, that goes first.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        failures, rest = group.split((JobFailed, WorkerTrouble))
        if failures is None or rest is not None:
            raise
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from first.__cause__
