"""Owns `$TP_PROGRESS`: a named pipe into which a job writes how much of its work is done.

The pipe is itself the signal, so nothing polls. It is read through a descriptor that was opened
before the job began: whatever a job puts in its place is never opened. What a job writes is read at
most every `PROGRESS_EVERY_S`; a job that writes faster than that waits in its own `write`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from control.model import limits, names
from control.model.errors import JobFailed
from control.model.json_values import show
from control.model.kinds import Reporter
from workers.trouble import WorkerTrouble

_READ_BYTES: Final = 64 * limits.KIB
_READS_MAX: Final = 16  # At once; a job that fills the pipe faster waits for the next turn.
_TAIL_BYTES: Final = 64  # Of what was written: the newest number is at its end.


class ProgressPipe:
    """The pipe of one process or container. Numbers are separated by white space: `echo 0.5`."""

    def __init__(self, path: Path, *, mode: int = 0o600) -> None:
        """Make the pipe; raises OSError. `mode`: who may write, whatever the umask."""
        os.mkfifo(path)
        path.chmod(mode)
        self.path = path
        # Open for writing too: so no writer waits for a reader, and no writer's end is the pipe's.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._complained = False

    def close(self) -> None:
        """Free the descriptor; to be called once, while `reported` is not in use."""
        os.close(self._pipe)

    def clear(self) -> None:
        """Discard what is in the pipe: it belongs to former work of the same process."""
        self._newest()
        self._complained = False

    @asynccontextmanager
    async def reported(self, report: Reporter) -> AsyncIterator[None]:
        """Report what is written inside of the block, also the last number before its end."""
        failure = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, report)
            try:
                yield
            except (JobFailed, WorkerTrouble) as error:
                failure = error  # Raised outside, or it would come as one of a group.
            finally:
                nursery.cancel_scope.cancel()
        await self._report(report)
        if failure is not None:
            raise failure

    async def _follow(self, report: Reporter) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._pipe)
            await self._report(report)
            await trio.sleep(limits.PROGRESS_EVERY_S)

    async def _report(self, report: Reporter) -> None:
        words = self._newest().split()
        if not words:
            return
        fraction = _fraction(words[-1])
        if fraction is not None:
            await report.progress(fraction)
        elif not self._complained:
            self._complained = True
            shown = show(words[-1].decode(errors="replace"))
            await report.log(f"[${names.ENV_PROGRESS}: {shown} is no number from 0 to 1]\n")

    def _newest(self) -> bytes:
        data = b""
        with suppress(BlockingIOError):
            for _ in range(_READS_MAX):
                data = (data + os.read(self._pipe, _READ_BYTES))[-_TAIL_BYTES:]
        return data


def _fraction(word: bytes) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None  # Neither for what is no number at all (nan).
