"""Decides what of an attempt's log is stored, and owns the log text that is not sent yet.

Nothing is dropped in silence: a cut line says how much it lost, a log over its limit where and how
much, and offsets count what was dropped while the link was slow, so that gaps show.
"""

import re
from collections import deque
from collections.abc import Iterable
from typing import Final

import trio

from control.model import limits
from control.model.worker.wire import Lease, Log
from workers.wakeup import Doorbell

_BYTES_PER_CHAR_MAX: Final = 4
_LINES: Final = re.compile(r"[^\r\n]*(?:[\r\n]|$)")


class LogTrimmer:
    """Cuts one attempt's log to the limits of a line and of the whole, of which both ends stay.

    A carriage return begins another line: that is how progress bars write over themselves.
    """

    def __init__(
        self,
        line_bytes_max: int = limits.LOG_LINE_BYTES_MAX,
        head_bytes_max: int = limits.LOG_HEAD_BYTES_MAX,
        tail_bytes_max: int = limits.LOG_TAIL_BYTES_MAX,
    ) -> None:
        self._line_bytes_max = line_bytes_max
        self._head_bytes_left = head_bytes_max
        self._tail_bytes_max = tail_bytes_max
        self._line_bytes = 0  # Of the line being written.
        self._line_cut = 0
        self._tail: deque[bytes] = deque()  # What came after the head, as much as is stored of it.
        self._tail_bytes = 0
        self._cut = 0  # Between the two.

    def feed(self, text: str) -> str:
        """Return what of the text goes into the log now."""
        data = text.encode()
        lines = data.replace(b"\r", b"\n").split(b"\n")
        first = self._line_bytes + len(lines[0])
        if self._line_cut or max(first, *map(len, lines)) > self._line_bytes_max:
            text = "".join(map(self._line, _LINES.findall(text)))
            data = text.encode()
        else:
            self._line_bytes = first if len(lines) == 1 else len(lines[-1])
        if not self._tail and len(data) <= self._head_bytes_left:
            self._head_bytes_left -= len(data)
            return text
        head = _first_bytes(text, self._head_bytes_left)
        self._head_bytes_left = 0
        self._put_aside(data[len(head.encode()) :])
        return head

    def finish(self) -> str:
        """Return the last words: the end of the log, and what the limits have cost, if anything."""
        last = self._end_line("") if self._line_cut else ""
        if not self._tail:
            return last
        self._put_aside(last.encode())
        tail = b"".join(self._tail)
        over = max(len(tail) - self._tail_bytes_max, 0)
        tail = tail[over:]
        if not self._cut + over:
            return tail.decode(errors="ignore")  # It just fits.
        # The first line is not whole, if there are others.
        ends = [at for at in map(tail.find, (b"\n", b"\r")) if 0 <= at < len(tail) - 1]
        begin = min(ends, default=-1) + 1
        left_out = self._cut + over + begin
        note = f"\n[… log limit reached: {left_out} bytes are left out here]\n"
        return note + tail[begin:].decode(errors="ignore")

    def _put_aside(self, data: bytes) -> None:
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_bytes_max:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self._cut += gone

    def _line(self, line: str) -> str:
        """Cut one line, or a part of one that goes on in the next text."""
        ending = line[-1:] if line.endswith(("\n", "\r")) else ""
        body = line.removesuffix(ending)
        room = 0 if self._line_cut else max(0, self._line_bytes_max - self._line_bytes)
        trimmed = _first_bytes(body, room)
        self._line_bytes += len(trimmed.encode())
        self._line_cut += len(body.encode()) - len(trimmed.encode())
        return trimmed + (self._end_line(ending) if ending else "")

    def _end_line(self, ending: str) -> str:
        note = f" [… {self._line_cut} more bytes of this line were dropped]"
        cut, self._line_cut, self._line_bytes = self._line_cut, 0, 0
        return (note if cut else "") + ending


class LogBuffer:
    """Log text of all attempts that waits to be sent, or to arrive, in order for each attempt."""

    def __init__(self, bell: Doorbell, bytes_max: int = limits.LOG_BUFFER_BYTES_MAX) -> None:
        self._bell = bell
        self._bytes_max = bytes_max
        self._bytes = 0
        self._waiting: dict[Lease, list[Log]] = {}
        self._under_way: dict[Lease, list[tuple[int, Log]]] = {}  # With the number of its taking.
        self._room = trio.lowlevel.ParkingLot()
        self.batches = 0  # How many batches were removed to be sent.

    def __contains__(self, lease: Lease) -> bool:
        """Whether text of it waits to be sent."""
        return lease in self._waiting

    def __bool__(self) -> bool:
        """Whether text waits to be sent, or is not known to have arrived."""
        return bool(self._waiting or self._under_way)

    @property
    def is_under_way(self) -> bool:
        """Whether text was sent that is not known to have arrived."""
        return bool(self._under_way)

    def has_room(self, size: int) -> bool:
        """Return whether so many bytes fit."""
        return self._bytes + size <= self._bytes_max

    async def wait_for_room(self) -> None:
        """Sleep until something has arrived."""
        await self._room.park()

    def add(self, lease: Lease, offset: int, text: str, size: int) -> None:
        """Add text that stands at this offset (in bytes) of its attempt's log."""
        for start, piece in _chunks(text, size):
            self._waiting.setdefault(lease, []).append(
                Log(lease=lease, offset=offset + start, text=piece)
            )
        self._bytes += size
        self._bell.ring()

    def take(self, frames_max: int, bytes_max: int) -> list[Log]:
        """Return frames to send, merged where they follow each other; they wait for `arrived`."""
        chunks: list[Log] = []
        size = 0
        self.batches += bool(self._waiting)
        while self._waiting and len(chunks) < frames_max and size < bytes_max:
            lease = next(iter(self._waiting))
            frames = _merge(self._waiting.pop(lease))
            while frames and len(chunks) < frames_max and size < bytes_max:
                chunks.append(frames.pop(0))
                self._under_way.setdefault(lease, []).append((self.batches, chunks[-1]))
                size += len(chunks[-1].text.encode())
            if frames:
                self._waiting[lease] = frames
        return chunks

    def all_arrived(self, batch: int) -> None:
        """All batches up to this number have arrived."""
        for lease, frames in list(self._under_way.items()):
            later = [each for each in frames if each[0] > batch]
            self._release(frame for number, frame in frames if number <= batch)
            if later:
                self._under_way[lease] = later
            else:
                del self._under_way[lease]

    def arrived(self, lease: Lease) -> None:
        """What was sent of an attempt has arrived."""
        if frames := self._under_way.pop(lease, None):
            self._release(frame for _, frame in frames)

    def take_back(self) -> None:
        """The connection is gone: what may not have arrived waits again; it may come twice."""
        for lease, frames in self._under_way.items():
            again = [frame for _, frame in frames]
            self._waiting[lease] = again + self._waiting.get(lease, [])
        self._under_way.clear()

    def forget(self, lease: Lease) -> None:
        """Drop what is here of an attempt that is no longer ours."""
        self._release(self._waiting.pop(lease, ()))
        self.arrived(lease)

    def _release(self, frames: Iterable[Log]) -> None:
        size = sum(len(frame.text.encode()) for frame in frames)
        if size:
            self._bytes -= size
            self._room.unpark_all()


class AttemptLog:
    """One attempt's log on its way from the kind to the buffer."""

    __slots__ = ("_buffer", "_dropped", "_trimmer", "lease", "size")

    def __init__(self, lease: Lease, buffer: LogBuffer) -> None:
        self.lease = lease
        self.size = 0  # Bytes so far, with what a slow link made us drop.
        self._buffer = buffer
        self._trimmer: LogTrimmer | None = None  # Most short jobs never say anything.
        self._dropped = 0

    async def write(self, text: str) -> None:
        """Add text; wait a moment when the buffer is full, then drop and go on."""
        self._trimmer = self._trimmer or LogTrimmer()
        trimmed = self._trimmer.feed(text)
        size = len(trimmed.encode())
        if not size:
            return
        if not self._buffer.has_room(size):
            with trio.move_on_after(0 if self._dropped else limits.LOG_WAIT_S):
                while not self._buffer.has_room(size):
                    await self._buffer.wait_for_room()
        self._add(trimmed, size)

    def finish(self) -> None:
        """Say what was dropped; nothing may be written afterwards."""
        if self._trimmer is None:
            return
        last = self._trimmer.finish()
        if self._dropped:
            last += f"\n[… the link was slow: {self._dropped} bytes were dropped]\n"
        if last:
            # The last, and of limited size: it goes in even when the buffer is full.
            size = len(last.encode())
            self._buffer.add(self.lease, self.size, last, size)
            self.size += size

    def _add(self, text: str, size: int) -> None:
        if self._buffer.has_room(size):
            self._buffer.add(self.lease, self.size, text, size)
        else:
            self._dropped += size
        self.size += size  # What is dropped counts, so that the gap shows.


def _first_bytes(text: str, size: int) -> str:
    """The longest beginning of at most so many bytes that does not split a character."""
    return text.encode()[:size].decode(errors="ignore")


def _chunks(text: str, size: int) -> list[tuple[int, str]]:
    """Cut text to the size of a frame; each piece with its place in bytes."""
    if size <= limits.PIECE_BYTES:
        return [(0, text)]
    chars = limits.PIECE_BYTES // _BYTES_PER_CHAR_MAX
    pieces = [text[start : start + chars] for start in range(0, len(text), chars)]
    placed, at = [], 0
    for piece in pieces:
        placed.append((at, piece))
        at += len(piece.encode())
    return placed


def _merge(frames: list[Log]) -> list[Log]:
    merged: list[Log] = []
    texts: list[str] = []
    start, end = 0, -1
    for frame in frames:
        size = len(frame.text.encode())
        if frame.offset != end or end + size - start > limits.PIECE_BYTES:
            if texts:
                merged.append(Log(lease=frame.lease, offset=start, text="".join(texts)))
            texts, start, end = [], frame.offset, frame.offset
        texts.append(frame.text)
        end += size
    merged.append(Log(lease=frames[-1].lease, offset=start, text="".join(texts)))
    return merged
