"""Owns how the directory of an attempt goes away when the attempt has ended."""

import os
import stat
from itertools import count
from pathlib import Path
from typing import Final

import structlog
import trio

from control.model import limits

_log = structlog.get_logger()
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


async def remove_directory(directory: Path) -> None:
    """Remove a directory with all that a job left there; not even cancellation stops it."""
    try:
        directory.rmdir()  # noqa: ASYNC240 - One system call, shorter than a trip to a thread.
    except OSError:  # Not empty: the job left files, maybe many.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.ACK_S):
            await trio.to_thread.run_sync(lambda: remove_tree(directory))


def remove_tree(directory: Path) -> None:
    """Remove a directory however deep, wide, or closed a job made it; what resists is logged.

    It never descends: what is in a directory is moved up beside it, so that neither Python's stack
    nor the length of a path is a bound. No link is followed.
    """
    try:
        top = os.open(directory, _OPEN)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("directory.left", path=str(directory), reason=str(error))
        return
    try:
        _empty(top)
        directory.rmdir()
    except OSError as error:
        _log.warning("directory.left", path=str(directory), reason=str(error))
    finally:
        os.close(top)


def _empty(top: int) -> None:
    numbers = count()
    while names := os.listdir(top):
        for name in names:
            if _unlinked(name, top):
                continue
            os.chmod(name, stat.S_IRWXU, dir_fd=top)
            inner = os.open(name, _OPEN, dir_fd=top)
            try:
                for child in os.listdir(inner):
                    if not _unlinked(child, inner):
                        os.chmod(child, stat.S_IRWXU, dir_fd=inner)
                        moved = _free_name(top, numbers)
                        os.rename(child, moved, src_dir_fd=inner, dst_dir_fd=top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _unlinked(name: str, folder: int) -> bool:
    """Remove what is no directory. False: it is one."""
    if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
        return False
    os.unlink(name, dir_fd=folder)
    return True


def _free_name(folder: int, numbers: "count[int]") -> str:
    """A name that nothing in the directory has: a job may have used the first ones."""
    for number in numbers:
        name = f".removing-{number}"
        try:
            os.lstat(name, dir_fd=folder)
        except FileNotFoundError:
            return name
    raise AssertionError  # The numbers do not end.
