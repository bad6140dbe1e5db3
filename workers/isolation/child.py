"""Owns a process that one of our own threads has started: waits for its end without polling.

trio cannot adopt a process that it has not started itself.
"""

import os
import subprocess

import trio


class ChildProcess:
    """A running process, with the interface of `trio.Process`. Raises OSError: none is left."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lock = trio.Lock()  # A descriptor may have one waiting task.
        try:
            self._ended = os.pidfd_open(process.pid)  # Readable from its end on.
        except OSError:
            process.kill()  # Its end could not be awaited.
            process.wait()
            raise

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended: its exit code, or less than zero: a signal; None: not known to have."""
        return self._process.returncode

    def poll(self) -> int | None:
        """Look whether it has ended, and how."""
        code = self._process.poll()
        if code is not None and self._ended >= 0:
            os.close(self._ended)
            self._ended = -1
        return code

    async def wait(self) -> int:
        """Sleep until it has ended."""
        async with self._lock:
            while (code := self.poll()) is None:
                await trio.lowlevel.wait_readable(self._ended)
        return code
