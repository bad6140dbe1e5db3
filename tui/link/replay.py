"""Owns the reading of a recording: it stands in for a control plane, at the recording's own time.

Only where each line begins is kept; bodies stay in the file until they are asked for.
"""

import asyncio
import math
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec
from msgspec import UNSET

from control.model.api.live import Watch
from control.model.json_values import Json
from control.model.times import from_rfc3339
from tui.link.recording import FORMAT, Entry, Opening
from tui.link.source import Away, ConsoleTarget, LinkError, RequestRefused

_OPENING: Final = msgspec.json.Decoder(Opening)
_ENTRY: Final = msgspec.json.Decoder(Entry)
_NOT_FOUND: Final = 404
_METHOD_NOT_ALLOWED: Final = 405
_NO_MORE: Final = b'{"items":[],"next_cursor":null}'
Query = tuple[tuple[str, str], ...]


class RecordingInvalid(Exception):
    """The file cannot be replayed; the text says where and why."""


class ReplayPace(Protocol):
    """How the recording's time goes by."""

    def ms(self) -> int:
        """Where in the recording one is, in milliseconds from its begin."""

    async def until(self, ms: int) -> None:
        """Return when the recording has come that far."""


class RunningPace:
    """Time goes by as it does here, `speed` times as fast, from the first question on."""

    def __init__(self, speed: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._speed = speed
        self._monotonic_s = monotonic_s
        self._begin_s = math.nan

    def ms(self) -> int:
        """Where one is."""
        now_s = self._monotonic_s()
        if math.isnan(self._begin_s):
            self._begin_s = now_s
        return round((now_s - self._begin_s) * self._speed * 1000)

    async def until(self, ms: int) -> None:
        """Sleep until then."""
        await asyncio.sleep(max(ms - self.ms(), 0) / 1000 / self._speed)


class _At(msgspec.Struct, frozen=True, order=True):
    """Where a line is, and at which moment it was written. `number`: of the line, from 1."""

    ms: int
    offset: int
    number: int = 0


class _Index(msgspec.Struct):
    """Where everything is."""

    events: list[_At] = []
    answers: dict[str, dict[Query, list[_At]]] = {}
    logs: dict[tuple[int, int], dict[int, list[_At]]] = {}


class Replay:
    """A `Source` that brings what a recording holds. Raises `RecordingInvalid` when opened."""

    def __init__(self, path: Path, pace: ReplayPace) -> None:
        self._path = path
        self._pace = pace
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            message = f"cannot read {path}: {error.strerror}"
            raise RecordingInvalid(message) from error
        try:
            self.opening, self._index = self._read()
        except BaseException:
            self._file.close()
            raise
        self._begin_ms = from_rfc3339(self.opening.at)
        self._next = 0

    @property
    def target(self) -> ConsoleTarget:
        """What was recorded."""
        return ConsoleTarget(name=self.opening.context, url=self.opening.url)

    def now_ms(self) -> int:
        """The recording's time."""
        return self._begin_ms + self._pace.ms()

    async def aclose(self) -> None:
        """Close the file."""
        self._file.close()

    async def watch(self, wanted: Watch) -> None:
        """What was recorded is what there is."""

    @asynccontextmanager
    async def frames(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The events, each at its time; after the last one the picture stays."""
        yield self._frames()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        """The newest answer until now, else the first one there is."""
        del body
        if method != "GET":
            message = "this is a recording: nothing can be changed"
            raise RequestRefused(message, _METHOD_NOT_ALLOWED)
        by_query = self._index.answers.get(path, {})
        asked = dict(query or {})
        found = by_query.get(tuple(sorted(asked.items())))
        if found is None and "cursor" in asked and by_query:
            return _NO_MORE
        if found is None and by_query:
            # Another window, or another limit: better than nothing.
            found = sorted(at for each in by_query.values() for at in each)
        if not found:
            message = "not in this recording"
            raise RequestRefused(message, _NOT_FOUND)
        entry = self._entry(self._newest(found))
        if isinstance(entry.body, msgspec.Raw):
            return bytes(entry.body)
        problem = entry.problem or "not in this recording"
        raise Away(problem) if entry.status is None else RequestRefused(problem, entry.status)

    @asynccontextmanager
    async def log(self, job_id: int, attempt: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The log as it was read last until now, else as it was read first."""
        streams = self._index.logs.get((job_id, attempt))
        if not streams:
            message = "not in this recording"
            raise RequestRefused(message, _NOT_FOUND)
        begins = [pieces[0] for pieces in streams.values()]
        newest = self._newest(begins)
        pieces = next(each for each in streams.values() if each[0] == newest)
        yield self._pieces(pieces, wait=newest.ms <= self._pace.ms())

    async def _frames(self) -> AsyncIterator[bytes]:
        events = self._index.events
        while self._next < len(events):
            at = events[self._next]
            await self._pace.until(at.ms)
            self._next += 1
            entry = self._entry(at)
            if isinstance(entry.frame, msgspec.Raw):
                yield bytes(entry.frame)
            elif entry.link in {"lost", "refused"}:
                raise _broken(entry)
        await asyncio.Event().wait()

    async def _pieces(self, pieces: list[_At], *, wait: bool) -> AsyncIterator[bytes]:
        ended = False
        for at in pieces:
            if wait:
                await self._pace.until(at.ms)
            entry = self._entry(at)
            ended = entry.end
            yield entry.text.encode()
        if not ended:
            await asyncio.Event().wait()

    def _newest(self, found: list[_At]) -> _At:
        place = bisect_right(found, self._pace.ms(), key=lambda at: at.ms)
        return found[max(place - 1, 0)]

    def _entry(self, at: _At) -> Entry:
        self._file.seek(at.offset)
        return self._decoded(self._file.readline(), at.number)

    def _decoded(self, data: bytes, number: int) -> Entry:
        try:
            return _ENTRY.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            message = f"{self._path}, line {number}: damaged: {error}"
            raise RecordingInvalid(message) from error

    def _read(self) -> tuple[Opening, _Index]:
        opening = self._opening(self._file.readline())
        index = _Index()
        offset, number = self._file.tell(), 1
        for data in self._file:
            number += 1
            # A console that was killed leaves the begin of a line behind.
            if data.endswith(b"\n"):
                entry = self._decoded(data, number)
                _enter(index, entry, _At(entry.ms, offset, number))
            offset += len(data)
        return opening, index

    def _opening(self, data: bytes) -> Opening:
        try:
            found = _OPENING.decode(data)
            from_rfc3339(found.at)
        except ValueError as error:  # What msgspec and codecs raise are such, too.
            message = f"{self._path}, line 1: this is no recording of tpctl's: {error}"
            raise RecordingInvalid(message) from error
        if found.recording != FORMAT:
            message = (
                f"{self._path}, line 1: a recording of format {found.recording}, "
                f"but this tpctl reads {FORMAT}"
            )
            raise RecordingInvalid(message)
        return found


def _enter(index: _Index, entry: Entry, at: _At) -> None:
    if isinstance(entry.get, str):
        query = tuple(sorted(entry.query.items()))
        index.answers.setdefault(entry.get, {}).setdefault(query, []).append(at)
    elif isinstance(entry.log, tuple):
        index.logs.setdefault(entry.log, {}).setdefault(entry.stream, []).append(at)
    elif entry.frame is not UNSET or entry.link is not UNSET:
        index.events.append(at)


def _broken(entry: Entry) -> LinkError:
    if entry.link == "refused":
        return RequestRefused(entry.why, entry.status or 0)
    return Away(entry.why)
