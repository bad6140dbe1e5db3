"""Owns the standard streams of a command: a stdout that cannot be written is an error in words."""

import io
import os
import sys
from typing import Final

from control.cli.errors import OutputFailed

_STDOUT: Final = 1
_OPENED_AS: Final = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


class _StandardOutput(io.FileIO):
    """Stdout below its buffer. After its first failure it drops what is left in the buffer."""

    failed = False

    # What a buffer hands down is one of these.
    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        """Write; raises `OutputFailed`, and `BrokenPipeError` for a reader that has seen enough."""
        if self.failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failed = True
            message = f"cannot write to standard output: {error.strerror}"
            raise OutputFailed(message) from error


def prepare_streams() -> None:
    """Make the three streams fit to use, whatever this process was started with.

    A descriptor that is closed would become that of the next file or socket. Stdout is then opened
    for reading, so that what is written to it fails instead of being lost.
    """
    for number, flags in _OPENED_AS.items():
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # Gets the lowest number that is free: this one.
    tty = os.isatty(_STDOUT)
    raw = _StandardOutput(_STDOUT, "w", closefd=False)
    # Signs such as ✓ must not be what a command fails at.
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=_encoding(), errors="backslashreplace", line_buffering=tty
    )
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def _encoding() -> str:
    return "utf-8" if sys.stdout is None else sys.stdout.encoding
