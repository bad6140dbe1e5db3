"""Owns the writing of a recording: everything that comes from a control plane, line by line.

A recording is a file of JSON lines. The first says what it is; each other one has `ms`, the
milliseconds since then, and one of `frame`, `get`, `log`, and `link`. What is sent is not in it:
no headers, no credentials, nothing of what was changed.
"""

import asyncio
import codecs
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from control.model.api.live import Watch
from control.model.json_values import Json
from control.model.times import to_rfc3339
from tui.link.source import ConsoleTarget, LinkError, Outdated, RequestRefused, Source, apart

FORMAT: Final = 1
_EVERY_S: Final = 1.0
_FLUSH_BYTES: Final = 64 * 1024
_PENDING_BYTES_MAX: Final = 256 * 1024 * 1024
Move = Literal["live", "lost", "refused"]


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. `version`: of the console that wrote it; `at`: when it began."""

    recording: int
    version: str
    context: str
    url: str
    at: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Any other line.

    `get`: the path that was asked for, with `body`, or with `problem` and perhaps its HTTP
    `status`. `log`: job and attempt, with `text`; `stream` tells readings of one log apart, `end`
    that the log has ended. `link`: how the link stands from now on, and `why`.
    """

    ms: int
    frame: Raw | UnsetType = UNSET
    get: str | UnsetType = UNSET
    query: dict[str, str] = {}
    body: Raw | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    status: int | None = None
    log: tuple[int, int] | UnsetType = UNSET
    stream: int = 0
    text: str = ""
    end: bool = False
    link: Move | UnsetType = UNSET
    why: str = ""


class File(Protocol):
    """Where a recording goes to; calls may block."""

    def write(self, data: bytes, /) -> object:
        """Take these bytes, or raise `OSError`."""

    def flush(self) -> object:
        """Have them on the disk, or raise `OSError`."""

    def close(self) -> object:
        """End it, or raise `OSError`."""


class Recorder:
    """A `Source` that writes down what another one brings.

    When it cannot be written any more, the recording ends, and the console goes on: `ended` is
    set, and `problem` says why.
    """

    def __init__(
        self, source: Source, file: File, now_ms: Callable[[], int], *, version: str
    ) -> None:
        self.problem = ""
        self.ended = asyncio.Event()
        self._source = source
        self._file = file
        self._now_ms = now_ms
        self._begin_ms = now_ms()
        self._ms = 0
        self._pending: list[bytes] = []
        self._bytes = 0
        self._streams = 0
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._put(
            Opening(
                recording=FORMAT,
                version=version,
                context=source.target.name,
                url=apart(source.target.url)[0],
                at=to_rfc3339(self._begin_ms),
            )
        )

    @property
    def target(self) -> ConsoleTarget:
        """What it is connected to."""
        return self._source.target

    @asynccontextmanager
    async def frames(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The live events."""
        try:
            async with self._source.frames() as frames:
                yield self._frames(frames)
        except LinkError as error:
            self._link_lost(error)
            raise

    async def watch(self, wanted: Watch) -> None:
        """What the frames shall tell of from now on."""
        await self._source.watch(wanted)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
    ) -> bytes:
        """One call of the API; what changes something is not written down."""
        if method != "GET":
            return await self._source.ask(method, path, query=query, body=body)
        asked = dict(query or {})
        try:
            answer = await self._source.ask(method, path, query=query, body=body)
        except LinkError as error:
            status = error.status if isinstance(error, RequestRefused) else None
            self._note(get=path, query=asked, problem=str(error), status=status)
            raise
        if _is_json(answer):
            self._note(get=path, query=asked, body=Raw(answer))
        return answer

    @asynccontextmanager
    async def log(self, job_id: int, attempt: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """A job's log as it grows."""
        async with self._source.log(job_id, attempt) as pieces:
            yield self._pieces((job_id, attempt), pieces)

    async def aclose(self) -> None:
        """Hang up, and write the rest."""
        await self._source.aclose()
        self._closing.set()
        if self._writing is not None:
            await self._writing
        try:
            await asyncio.to_thread(self._file.close)
        except OSError as error:
            self._end(error.strerror or str(error))

    async def _frames(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        live = False
        async for raw in frames:
            if not live:
                live = True
                self._note(link="live")
            if _is_json(raw):
                self._note(frame=Raw(raw))
            yield raw
        self._note(link="lost", why="the control plane has closed the connection")

    async def _pieces(
        self, log: tuple[int, int], pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        self._streams += 1
        stream = self._streams
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        async for piece in pieces:
            self._note(log=log, stream=stream, text=decoder.decode(piece))
            yield piece
        self._note(log=log, stream=stream, text=decoder.decode(b"", final=True), end=True)

    def _link_lost(self, error: LinkError) -> None:
        if isinstance(error, RequestRefused):
            self._note(link="refused", why=str(error), status=error.status)
        elif not isinstance(error, Outdated):  # That is to be seen from the frame itself.
            self._note(link="lost", why=str(error))

    def _note(self, **given: object) -> None:
        """One more line."""
        # A clock that is put back does not put lines before others.
        self._ms = max(self._now_ms() - self._begin_ms, self._ms)
        self._put(Entry(ms=self._ms, **given))  # type: ignore[arg-type]

    def _put(self, line: Opening | Entry) -> None:
        if self.ended.is_set():
            return
        # Between JSON's values a server may break lines; inside of strings it cannot.
        data = msgspec.json.encode(line).replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"
        self._pending.append(data)
        self._bytes += len(data)
        if self._bytes > _PENDING_BYTES_MAX:
            self._end("writing takes too long")
        elif self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write until nothing is left; what comes within a second is written together."""
        while self._pending:
            if self._bytes < _FLUSH_BYTES:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), _EVERY_S)
            data, self._pending, self._bytes = b"".join(self._pending), [], 0
            try:
                await asyncio.to_thread(self._write_whole, data)
            except OSError as error:
                self._end(error.strerror or str(error))

    def _write_whole(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()

    def _end(self, why: str) -> None:
        self.problem = f"the recording has ended: {why}"
        self._pending, self._bytes = [], 0
        self.ended.set()


def create(path: Path) -> File:
    """A new file for a recording, readable by its owner only; raises `OSError`."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _is_json(data: bytes) -> bool:
    """Whether it can be a value inside of a line."""
    try:
        msgspec.json.decode(data, type=Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True
