"""Decides what becomes of results that come in parts, over as many connections as that takes.

A link that breaks all the time brings no large message. So a worker cuts a large result, and goes
on where the gateway's `welcome` says. Whoever sends parts of more than there is room for makes
those that were touched longest ago begin again.
"""

from collections import OrderedDict

from control.model import limits
from control.model.errors import ProtocolError
from control.model.wire import Lease, Part


class PartialResults:
    """What has come so far, by worker: its client and name. Of one gateway."""

    def __init__(self) -> None:
        self._results: OrderedDict[tuple[tuple[str, str], Lease], bytearray] = OrderedDict()
        self._bytes = 0

    def received(self, worker: tuple[str, str]) -> tuple[tuple[Lease, int], ...]:
        """How many bytes of which results are here."""
        return tuple(
            (lease, len(data)) for (of, lease), data in self._results.items() if of == worker
        )

    def add(self, worker: tuple[str, str], part: Part) -> bytes | None:
        """Take in a part; gives the whole result with the last one. Raises `ProtocolError`."""
        key = worker, part.lease
        data = self._results.pop(key, None)
        if data is None or not part.offset:
            self._bytes -= len(data or b"")
            data = bytearray()
        before, fresh = len(data), part.text.encode()
        self._bytes -= before
        if part.offset != before or before + len(fresh) > part.size:
            message = (
                f"a part of {len(fresh)} bytes at {part.offset} of {part.size} does not follow the "
                f"{before} bytes that have come"
            )
            raise ProtocolError(message)
        data += fresh
        if len(data) == part.size:
            return bytes(data)
        self._results[key] = data
        self._bytes += len(data)
        while self._bytes > limits.PARTS_BYTES_MAX or len(self._results) > limits.PARTS_MAX:
            _, dropped = self._results.popitem(last=False)
            self._bytes -= len(dropped)
        return None
