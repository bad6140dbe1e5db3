"""Owns how a process covers directories with empty ones, which needs the rights of root.

Where this is possible, hiding a directory costs the ones above it nothing. Landlock keeps jobs from
uncovering them: inside of it nothing can be mounted or unmounted.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_RDONLY: Final = 1
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_SLAVE: Final = 1 << 19
_QUIET: Final = _MS_NOSUID | _MS_NODEV
_OPTIONS: Final = b"size=64k,mode=755"

_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def leave_shared_mounts() -> None:
    """Give this thread, and all that it starts, mounts of its own; raises OSError.

    What is mounted on the host later still appears there.
    """
    assert _libc is not None
    _check(_libc.unshare(_CLONE_NEWNS))
    _mount(None, "/", None, _MS_SLAVE | _MS_REC)


def cover(hidden: Sequence[str], own: Path) -> None:
    """Hide these files and directories from this thread, but not the directory `own` inside them.

    Only after `leave_shared_mounts`; raises OSError.
    """
    here = os.getcwd()
    own_folder = os.open(own, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in hidden:
            if not os.path.isdir(path):
                _mount("/dev/null", path, None, _MS_BIND)
            elif own.is_relative_to(path):
                _mount("tmpfs", path, "tmpfs", _QUIET, _OPTIONS)
                own.mkdir(mode=0o700, parents=True)
                _mount(f"/proc/self/fd/{own_folder}", str(own), None, _MS_BIND)
                _mount(None, path, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _QUIET)
            else:
                _mount("tmpfs", path, "tmpfs", _QUIET | _MS_RDONLY, _OPTIONS)
        # What this thread's directory is under now, and not what was there before.
        try:
            os.chdir(here)
        except OSError:
            os.chdir("/")
    finally:
        os.close(own_folder)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: bytes | None = None
) -> None:
    assert _libc is not None
    _check(
        _libc.mount(
            None if source is None else os.fsencode(source),
            os.fsencode(target),
            None if kind is None else kind.encode(),
            ctypes.c_ulong(flags),
            options,
        )
    )


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}")
