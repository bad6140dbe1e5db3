"""Decides how a job fails when the packages that its kind needs are not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from control.model.errors import JobFailed


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Around the first import of a client; raises JobFailed that names the extra to install.

    `what` is what cannot be used without it, in words.
    """
    try:
        yield
    except ImportError as error:
        msg = (
            f"{what} needs packages that this worker has not ({error.name or error}): "
            f"pip install '.[{extra}]' in a clone of Taskplane"
        )
        raise JobFailed(msg, final=True) from error
