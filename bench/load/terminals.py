"""Owns consoles in terminals of their own: real processes, whose keys and output are ours."""

import fcntl
import os
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NoReturn, Self

from bench.servers.system import STOP_S, cpu_s, memory_mib

ROWS, COLUMNS = 36, 120
START_S = 30.0
_READ_BYTES = 65_536
_REACTION_S = 5.0


class Terminal:
    """One process in a pseudo terminal of 120x36. What it writes is counted, and read at once."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.bytes_out = 0
        self._marked = bytearray()  # What came since the last key.
        self._arrived = threading.Condition()
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environ},
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it cleanly, or else at once."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        os.close(self._ours)

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far."""
        self._must_live()
        return cpu_s(self._process.pid)

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        self._must_live()
        return memory_mib(self._process.pid)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str) -> None:
        """Wait until it has written this, since the last measured key."""
        if not self._comes(text, 1, START_S):
            self._give_up(f"does not show {text!r}")

    def reaction_ms(self, key: str, shows: str, size: int) -> float | None:
        """From this key until so many bytes came, with `shows` among them; None: they did not."""
        with self._arrived:
            self._marked.clear()
        begin = time.perf_counter()
        self.press(key)
        came = self._comes(shows, size, _REACTION_S)
        return (time.perf_counter() - begin) * 1000 if came else None

    def _comes(self, shows: str, size: int, within_s: float) -> bool:
        wanted = shows.encode()
        with self._arrived:
            return self._arrived.wait_for(
                lambda: len(self._marked) >= size and wanted in self._marked, within_s
            )

    def _must_live(self) -> None:
        if self._process.poll() is not None:
            self._give_up(f"ended with exit code {self._process.returncode}")

    def _give_up(self, why: str) -> NoReturn:
        said = bytes(self._marked[-4_000:]).decode(errors="replace")
        message = f"the console {why}; it wrote: {said}"
        raise SystemExit(message)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, _READ_BYTES)
            except OSError:  # Nobody holds the other end any more.
                return
            with self._arrived:
                self.bytes_out += len(data)
                self._marked += data
                del self._marked[:-_READ_BYTES]
                self._arrived.notify_all()
