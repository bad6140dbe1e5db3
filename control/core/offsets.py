"""Decides which records a consumer group has finished with, when they finish out of order.

A watermark (every offset below it is finished) plus a bit for each offset above it: the idea of
Confluent's parallel consumer for Kafka, used here by both buses.
"""

import zlib
from collections.abc import Iterable
from typing import Final

from control.model.errors import Rejected

_HEADER_BYTES: Final = 9  # 8 for the base, 1 for the form.
_PLAIN: Final = 0
_DEFLATED: Final = 1
_DEFLATE_FROM: Final = 64  # Bytes; below that, deflating costs more than it saves.
_FULL: Final = 0xFF


class OffsetTracker:
    """One group's progress in one partition. Finishing an offset twice changes nothing."""

    def __init__(self, watermark: int = 0) -> None:
        self._base = watermark  # The offset of the first bit.
        self._bits = bytearray()

    @property
    def watermark(self) -> int:
        """Every offset below this one is finished, this one is not."""
        if not self._bits:
            return self._base
        # After `finish` the first byte is never full.
        low = self._bits[0]
        return self._base + (~low & (low + 1)).bit_length() - 1

    @property
    def finished_above(self) -> int:
        """How many offsets above the watermark are finished."""
        set_bits = int.from_bytes(self._bits, "little").bit_count()
        return set_bits - (self.watermark - self._base)

    def is_finished(self, offset: int) -> bool:
        """Whether this offset is finished."""
        at = offset - self._base
        if at < 0:
            return True
        byte = at >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & (1 << (at & 7)))

    def finish(self, offsets: Iterable[int]) -> None:
        """Mark offsets as finished, in any order."""
        bits, base = self._bits, self._base
        for offset in offsets:
            at = offset - base
            if at < 0:
                continue
            byte = at >> 3
            if byte >= len(bits):
                bits.extend(bytes(byte + 1 - len(bits)))
            bits[byte] |= 1 << (at & 7)
        if bits and bits[0] == _FULL:
            full = len(bits) - len(bits.lstrip(b"\xff"))
            del bits[:full]
            self._base = base + 8 * full

    def skip(self, start: int, stop: int) -> None:
        """Finish offsets that do not exist: there may be very many where a log was cut."""
        if start <= self.watermark and stop - self._base > 8 * len(self._bits):
            self._base, self._bits = max(stop, self._base), bytearray()
        else:
            self.finish(range(start, stop))

    def encode(self) -> bytes:
        """The progress as bytes; `decode` reads them back."""
        bits = bytes(self._bits)
        form = _PLAIN
        if len(bits) > _DEFLATE_FROM:
            deflated = zlib.compress(bits, 1)
            if len(deflated) < len(bits):
                form, bits = _DEFLATED, deflated
        return self._base.to_bytes(8, "big") + bytes([form]) + bits

    @classmethod
    def decode(cls, progress: bytes) -> "OffsetTracker":
        """Read what `encode` wrote; raises `Rejected` for anything else."""
        if len(progress) < _HEADER_BYTES or progress[8] not in (_PLAIN, _DEFLATED):
            message = "this is not a consumer group's progress"
            raise Rejected(message)
        tracker = cls(int.from_bytes(progress[:8], "big"))
        bits = progress[_HEADER_BYTES:]
        try:
            tracker._bits = bytearray(zlib.decompress(bits) if progress[8] == _DEFLATED else bits)
        except zlib.error as error:
            message = f"a consumer group's progress is damaged: {error}"
            raise Rejected(message) from error
        tracker.finish(())
        return tracker
