"""Decides what of a former worker's jobs still runs, and ends it before another takes its place.

Only what died together with its guards leaves anything. Its processes have the worker's mark in
their environment; a process is opened before it is looked at, so its number may be another's soon.
"""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from control.model import limits
from control.model.names import ENV_MARK

_log = structlog.get_logger()
_ROUNDS_MAX: Final = 100  # What ends may have started others meanwhile.


def end_leftovers(mark: str) -> None:
    """Kill every process with this mark that this user may kill; logs what does not end."""
    for _ in range(_ROUNDS_MAX):
        marked = _marked(f"{ENV_MARK}={mark}".encode())
        if not marked:
            return
        _log.warning("worker.leftovers", processes=sorted(marked))
        ended = [_killed(descriptor) for descriptor in marked.values()]
        if not all(ended):
            break
    _log.error("worker.leftovers_stay", mark=mark)


def _marked(entry: bytes) -> dict[int, int]:
    """The marked processes, each with a descriptor that stays the same process's."""
    descriptors: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        with suppress(OSError):  # Gone, or another user's.
            if entry not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            descriptor = os.pidfd_open(pid)
            try:
                if entry in (folder / "environ").read_bytes().split(b"\0"):
                    descriptors[pid], descriptor = descriptor, -1
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
    return descriptors


def _killed(descriptor: int) -> bool:
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return bool(select.select([descriptor], [], [], limits.SHELL_KILL_S)[0])
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
