"""Owns how the directory of an attempt goes away when the attempt has ended."""

import shutil
from pathlib import Path

import trio

from control.model import limits


async def remove_directory(directory: Path) -> None:
    """Remove a directory with all that a job left there; not even cancellation stops it."""
    try:
        directory.rmdir()  # noqa: ASYNC240 - One system call, shorter than a trip to a thread.
    except OSError:  # Not empty: the job left files, maybe many.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.ACK_S):
            await trio.to_thread.run_sync(lambda: shutil.rmtree(directory, ignore_errors=True))
