"""Owns the files of attempts' logs: sharded folders, 0600, an honest line where bytes are missing.

Everything here blocks. One caller at a time writes.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from control.model import limits
from control.model.bus.messages import LogChunk
from store.retention import Removed

Key = tuple[int, int]
"""Job id and attempt."""

# Always a line of its own, after an empty one: so a file tells how far its text had come.
# A job can write such a line too, which spoils its own log only; a number has 15 digits at most.
_GAP: Final = re.compile(rb"\n\[taskplane: ([0-9]{1,3}(?:,[0-9]{3}){0,4}) bytes not received\]\n")
_FULL: Final = b"\n[taskplane: the log was larger than is kept; the rest is left out]\n"


class _File:
    """One open file, and up to which byte of the attempt's text it has come."""

    __slots__ = ("descriptor", "reached", "size")

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o600)
        text = os.pread(self.descriptor, 2 * limits.LOG_ATTEMPT_BYTES_MAX, 0)
        gaps = list(_GAP.finditer(text))
        self.size = len(text)
        self.reached = self.size + sum(int(gap[1].replace(b",", b"")) - len(gap[0]) for gap in gaps)


class LogFiles:
    """The logs of all attempts, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[Key, _File] = OrderedDict()

    def append(self, chunks: Mapping[Key, Sequence[LogChunk]]) -> dict[Key, int]:
        """Add what came of each attempt, in order; gives how far each has come. Raises OSError."""
        reached = {}
        for key, several in chunks.items():
            file = self._file(key)
            text = b"".join(_new_text(file, chunk) for chunk in several)
            if text:
                os.write(file.descriptor, text)
            reached[key] = file.reached
        return reached

    def read(self, key: Key, at: int) -> bytes:
        """The next bytes of a file; empty at its end, or when there is none."""
        try:
            with self._path(key).open("rb", buffering=0) as file:
                file.seek(at)
                return file.read(limits.LOG_READ_BYTES) or b""
        except FileNotFoundError:
            return b""

    def require_readable(self, key: Key) -> None:
        """Raise OSError where a file is there, and cannot be read."""
        with suppress(FileNotFoundError), self._path(key).open("rb", buffering=0) as file:
            file.read(1)

    def reached(self, key: Key) -> int:
        """Up to which byte of the attempt's text the file has come."""
        return self._file(key).reached if self._path(key).exists() else 0

    def forget(self, removed: Sequence[Removed]) -> None:
        """Delete the logs of runs that are gone."""
        for run in removed:
            jobs = range(run.first_job_id, run.first_job_id + run.job_count)
            for key in [key for key in self._open if key[0] in jobs]:
                os.close(self._open.pop(key).descriptor)
            for folder in dict.fromkeys(self._path((job, 1)).parent for job in jobs):
                _delete_logs(folder, jobs)

    def forget_attempts(self, first: Mapping[int, int]) -> None:
        """Delete the logs of attempts from these numbers on, by job id.

        Another life of the data has used the numbers that come now. Nothing is open yet.
        """
        for folder in dict.fromkeys(self._path((job, 1)).parent for job in first):
            for path in folder.glob("*.log"):
                job, attempt, _ = path.name.split(".")
                if int(job) in first and int(attempt) >= first[int(job)]:
                    path.unlink()

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1].descriptor)

    def _path(self, key: Key) -> Path:
        job, attempt = key
        return self._folder / str(job // 1_000_000) / str(job // 1_000) / f"{job}.{attempt}.log"

    def _file(self, key: Key) -> _File:
        file = self._open.get(key)
        if file is not None and not os.fstat(file.descriptor).st_nlink:
            os.close(self._open.pop(key).descriptor)  # It was removed while it was open.
            file = None
        if file is None:
            file = self._open[key] = _File(self._path(key))
            if len(self._open) > limits.LOG_FILES_MAX:
                os.close(self._open.popitem(last=False)[1].descriptor)
        else:
            self._open.move_to_end(key)
        return file


def _new_text(file: _File, chunk: LogChunk) -> bytes:
    """What of a chunk is to be written: a chunk may come twice, and one may be missing."""
    text = chunk.text.encode()
    missing = chunk.offset - file.reached
    if missing < 0:
        text = text[-missing:]
    if file.size > limits.LOG_ATTEMPT_BYTES_MAX:
        file.reached += max(missing, 0) + len(text)
        return b""
    if missing > 0:
        text = b"\n[taskplane: %s bytes not received]\n" % f"{missing:,}".encode() + text
        file.reached = chunk.offset + len(chunk.text.encode())
    else:
        file.reached += len(text)
    file.size += len(text)
    return text + _FULL if file.size > limits.LOG_ATTEMPT_BYTES_MAX else text


def _delete_logs(folder: Path, jobs: range) -> None:
    try:
        found = list(folder.iterdir())
    except FileNotFoundError:
        return
    kept = 0
    for path in found:
        job = path.name.partition(".")[0]
        if job.isdigit() and int(job) in jobs:
            path.unlink(missing_ok=True)
        else:
            kept += 1
    if not kept:
        folder.rmdir()
