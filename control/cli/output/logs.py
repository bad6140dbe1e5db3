"""Decides how logs are written: whose line it is, raw to a pipe, harmless to a terminal."""

import sys
from collections.abc import Iterable

from control.cli.output.formats import Output
from control.model.display_text import RESET, LogCleaner, clean


class LogWriter:
    """Writes one attempt's log. With a prefix (` | ` follows it) only whole lines are written."""

    def __init__(self, out: Output, *, prefix: str = "", to_stderr: bool = False) -> None:
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._prefix = f"{clean(prefix)} | " if prefix else ""
        self._cleaner = (
            LogCleaner(colour=out.colours(self._stream)) if self._stream.isatty() else None
        )
        self._rest = b""
        # A job that leaves its colour on must not paint what other jobs write.
        self._reset = RESET.encode() if out.colours(self._stream) else b""

    def feed(self, piece: bytes) -> None:
        """Write what can be written of it."""
        if self._cleaner is not None:
            piece = self._cleaner.feed(piece).encode()
        self._lines(piece)

    def finish(self) -> None:
        """Write the rest; a line that was not ended is ended where other jobs' lines follow."""
        if self._cleaner is not None:
            self._lines(self._cleaner.finish().encode())
        if self._rest:
            self._write([self._ended(self._rest)])
            self._rest = b""
        elif not self._prefix:
            self._write([self._reset])

    def _lines(self, piece: bytes) -> None:
        if not self._prefix:
            self._write([piece])
            return
        *whole, self._rest = (self._rest + piece).split(b"\n")
        self._write(map(self._ended, whole))

    def _ended(self, line: bytes) -> bytes:
        return line + (self._reset if b"\x1b" in line else b"") + b"\n"

    def _write(self, lines: Iterable[bytes]) -> None:
        prefix = self._prefix.encode()
        body = b"".join(prefix + line for line in lines)
        if body:
            self._stream.flush()
            self._stream.buffer.write(body)
            self._stream.buffer.flush()
