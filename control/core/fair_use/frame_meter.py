"""Decides from their headers alone which websocket frames (RFC 6455, 5.2) are too large to take.

A message counts as the sum of its fragments, from the moment their headers announce them. Only the
bytes of headers are looked at; payloads are skipped, however they arrive.
"""

import enum
from typing import Final

_CONTROL: Final = 0x08
_FINAL: Final = 0x80
_COMPRESSED: Final = 0x40
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_SHORT: Final = 2
# What the sender of such a frame is answered: a closing frame with the code "message too big".
CLOSE_TOO_LARGE: Final = b"\x88\x02" + (1009).to_bytes(2, "big")


class FrameVerdict(enum.Enum):
    """What of the bytes that were fed."""

    FINE = enum.auto()
    TOO_LARGE = enum.auto()


class FrameMeter:
    """Follows one direction of a connection. `largest`: bytes of a message, may be changed.

    `largest_compressed`: of a compressed message, which a few bytes make large.
    """

    def __init__(self, largest: int, largest_compressed: int = 0) -> None:
        self.largest = largest
        self._largest_compressed = largest_compressed
        self._header = bytearray()
        self._skip = 0
        self._message = 0
        self._is_control = False  # The frame that is skipped is a ping or the like.
        self._ends = False  # The frame that is skipped is its message's last one.
        self._compressed = False
        self._too_large = False
        self.ended: list[int] = []  # The sizes of messages that ended in what was fed last.
        self.payload_bytes = 0  # Of all messages so far, without pings and the like.

    @property
    def announced(self) -> int:
        """Bytes of the message that has begun and not ended; 0: none has."""
        return self._message

    def feed(self, data: bytes) -> FrameVerdict:
        """Look at the next bytes; once a message is too large, so is all that follows."""
        at, end = 0, len(data)
        self.ended = []
        while at < end and not self._too_large:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                self.payload_bytes += 0 if self._is_control else step
                at += step
                self._end_frame()
                continue
            self._header.append(data[at])
            at += 1
            if len(self._header) == self._header_size():
                self._begin_frame()
        return FrameVerdict.TOO_LARGE if self._too_large else FrameVerdict.FINE

    def _header_size(self) -> int:
        if len(self._header) < _SHORT:
            return _SHORT
        length = self._header[1] & _LENGTH
        extended = {_LENGTH_16: 2, _LENGTH_64: 8}.get(length, 0)
        return _SHORT + extended + (4 if self._header[1] & _MASKED else 0)

    def _begin_frame(self) -> None:
        first, second = self._header[0], self._header[1]
        length = second & _LENGTH
        if length == _LENGTH_16:
            length = int.from_bytes(self._header[2:4], "big")
        elif length == _LENGTH_64:
            length = int.from_bytes(self._header[2:10], "big")
        self._header.clear()
        self._skip = length
        self._is_control = bool(first & _CONTROL)
        if self._is_control:
            self._too_large = length > self.largest
            return
        self._compressed = self._compressed or bool(first & _COMPRESSED)
        self._message += length
        most = min(self.largest, self._largest_compressed) if self._compressed else self.largest
        self._too_large = self._message > most
        self._ends = bool(first & _FINAL)
        self._end_frame()

    def _end_frame(self) -> None:
        if self._ends and not self._skip and not self._too_large:
            self.ended.append(self._message)
            self._message, self._compressed, self._ends = 0, False, False
