"""Owns the results on disk that no gateway has acknowledged yet.

One file, appended to once per batch: a line per result, exactly as it is sent, and a line per
acknowledgement. It survives the worker's death (kill -9 included), because what is passed to
`write` is the kernel's; it is not synced, so a host that loses power may lose the last lines, whose
jobs are then executed again like any lost worker's.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from control.model import limits
from control.model.names import RESULTS_FILE
from control.model.worker.wire import ENCODER, Ack, Ended, Lease

_LINE: Final = msgspec.json.Decoder(Ended | Ack)
_log = structlog.get_logger()


class Spool:
    """Stores results until they are acknowledged. One process at a time may open a directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / RESULTS_FILE
        self.results: dict[Lease, bytes] = _load(self._path)
        self._file = -1
        self._size = 0
        self._acked: list[bytes] = []  # Written with the next results; losing them is harmless.
        self._rewrite()

    def add(self, fresh: Sequence[tuple[Lease, bytes]]) -> None:
        """Append results with one write."""
        for lease, frame in fresh:
            self.results[lease] = frame
        lines = [*self._acked, *(frame for _, frame in fresh), b""]
        self._acked = []
        self._write(b"\n".join(lines))
        if self._size > limits.SPOOL_BYTES_MAX:
            self._shrink()

    def forget(self, leases: Sequence[Lease]) -> None:
        """Let acknowledged results go; the last one empties the file."""
        for lease in leases:
            self.results.pop(lease, None)
        if not self.results:
            self._acked = []
            if self._size:
                os.ftruncate(self._file, 0)
                self._size = 0
        else:
            self._acked.append(ENCODER.encode(Ack(leases=tuple(leases))))

    def close(self) -> None:
        """Close the file; what is in it stays for the next start."""
        if self._acked:
            self.add(())
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        try:
            while data:
                written = os.write(self._file, data)
                self._size += written
                data = data[written:]
        except OSError as error:
            # Running jobs are worth more than the copy; the results are still sent from memory.
            self._acked.append(b"")  # The next line must not continue a torn one.
            _log.error("spool.write_failed", path=str(self._path), error=str(error))

    def _shrink(self) -> None:
        stored = sum(map(len, self.results.values()))
        if self._size > 2 * stored:
            os.close(self._file)
            self._rewrite()

    def _rewrite(self) -> None:
        """Start a file with nothing but the stored results; the old one stays until it is whole."""
        fresh = self._path.with_suffix(".new")
        self._file = os.open(
            fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._size = 0
        self._write(b"".join(frame + b"\n" for frame in self.results.values()))
        fresh.replace(self._path)


def _load(path: Path) -> dict[Lease, bytes]:
    """Read what an earlier process stored, without lines it could not finish."""
    results: dict[Lease, bytes] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return results
    for line in filter(None, lines):
        try:
            frame = _LINE.decode(line)
        except msgspec.DecodeError:
            _log.warning("spool.line_skipped", path=str(path), bytes=len(line))
            continue
        if isinstance(frame, Ended):
            results[frame.lease] = line
        else:
            for lease in frame.leases:
                results.pop(lease, None)
    return results
