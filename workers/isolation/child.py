"""Owns what the worker holds of a process that a guard has started for it."""

import errno
import json
import os
import signal
import socket
from contextlib import suppress
from typing import Any, Final

import trio

from control.model import limits

# What a path that a job names may answer, and would be the worker's trouble anywhere else.
_OF_PATH: Final = frozenset(
    {
        *(errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.ENOBUFS, errno.EPIPE, errno.ECONNRESET),
    }
)


class GuardedProcess:
    """A process with a guard. Nothing of it is left after `settle`, or when the worker has died."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._received = bytearray()
        self._lock = trio.Lock()  # A descriptor may have one waiting task.
        self._pid = 0
        self._returncode: int | None = None

    @property
    def pid(self) -> int:
        """Its number, and its group's."""
        return self._pid

    @property
    def returncode(self) -> int | None:
        """How it ended: its exit code, or less than zero: a signal; None: not known to have."""
        return self._returncode

    async def begin(self) -> None:
        """Wait until it runs; raises OSError or ValueError if it cannot."""
        try:
            while (message := self._next()) is None:
                await trio.lowlevel.wait_readable(self._channel)
        except BaseException:
            # Also what is started a moment later: nothing begins once the attempt has ended.
            with suppress(OSError):
                await self.settle()
            self._channel.close()
            raise
        if "pid" in message:
            self._pid = message["pid"]
            return
        self._channel.close()
        if message["errno"] is None:
            raise ValueError(message["error"])
        if message["of_job"] and message["errno"] in _OF_PATH:
            # A path that the job names: whatever is wrong with it says nothing of the worker.
            text = f"{message['error']}: {message['path']}"
            raise ValueError(text)
        raise OSError(message["errno"], message["error"], message["path"])

    def poll(self) -> int | None:
        """Look whether it has ended, and how."""
        if self._returncode is None and (message := self._next()) is not None:
            self._returncode = message.get("returncode", -signal.SIGKILL)
        return self._returncode

    async def wait(self) -> int:
        """Sleep until it has ended."""
        async with self._lock:
            while (code := self.poll()) is None:
                await trio.lowlevel.wait_readable(self._channel)
        return code

    def signal(self, number: int) -> None:
        """Have the guard signal it and its group, unless it has ended: only the guard knows."""
        with suppress(OSError):
            self._channel.send(bytes([number]))

    async def settle(self) -> None:
        """Kill it and all that it has started, wherever that went; returns when it is gone."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + limits.GRACE_S):
            self._channel.shutdown(socket.SHUT_WR)
            async with self._lock:
                while self._read():
                    await trio.lowlevel.wait_readable(self._channel)
                self.poll()
        self._channel.close()

    def _next(self) -> dict[str, Any] | None:
        """The guard's next message, if it has come. Its own end, unannounced, is one of a kill."""
        open_still = self._read()
        line, newline, rest = bytes(self._received).partition(b"\n")
        if newline:
            self._received[:] = rest
            message: dict[str, Any] = json.loads(line)
            return message
        if open_still:
            return None
        words = "what starts processes was killed"
        return {"errno": errno.ECONNRESET, "error": words, "path": None}

    def _read(self) -> bool:
        """Take in what is there. False: no more comes."""
        try:
            while data := os.read(self._channel.fileno(), 4096):
                self._received += data
        except BlockingIOError:
            return True
        except ConnectionResetError:
            pass
        return False
