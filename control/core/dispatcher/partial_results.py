"""Decides what becomes of results that come in parts, over as many connections as that takes.

A link that breaks all the time brings no large message. So a worker cuts a large result, and goes
on where the gateway's `welcome` says. When there is no more room, the worker that takes most of it
begins the result again that it sent nothing of for the longest time: no worker takes another's.
"""

from collections import Counter, OrderedDict

from control.model import limits
from control.model.errors import ProtocolError
from control.model.worker.wire import Lease, Part

Worker = tuple[str, str]
"""A worker's client and name."""


class PartialResults:
    """What has come so far, by worker. Of one gateway."""

    def __init__(self) -> None:
        self._results: dict[Worker, OrderedDict[Lease, bytearray]] = {}
        self._weights: Counter[Worker] = Counter()  # In bytes; each result costs some by itself.

    def received(self, worker: Worker) -> tuple[tuple[Lease, int], ...]:
        """How many bytes of which results are here."""
        return tuple((lease, len(data)) for lease, data in self._results.get(worker, {}).items())

    def add(self, worker: Worker, part: Part) -> bytes | None:
        """Take in a part; gives the whole result with the last one. Raises `ProtocolError`."""
        data = self._take(worker, part.lease)
        if not part.offset:
            data.clear()
        before, fresh = len(data), part.text.encode()
        if part.offset != before or before + len(fresh) > part.size:
            message = (
                f"a part of {len(fresh)} bytes at {part.offset} of {part.size} does not follow the "
                f"{before} bytes that have come"
            )
            raise ProtocolError(message)
        data += fresh
        if len(data) == part.size:
            return bytes(data)
        self._results.setdefault(worker, OrderedDict())[part.lease] = data
        self._weights[worker] += limits.PART_BYTES_MIN + len(data)
        while self._weights.total() > limits.PARTS_BYTES_MAX:
            ((largest, _),) = self._weights.most_common(1)
            self._take(largest, next(iter(self._results[largest])))
        return None

    def _take(self, worker: Worker, lease: Lease) -> bytearray:
        """What has come of a result, which is not stored any more; empty: nothing."""
        results = self._results.get(worker, OrderedDict())
        data = results.pop(lease, None)
        if data is None:
            return bytearray()
        self._weights[worker] -= limits.PART_BYTES_MIN + len(data)
        if not results:
            del self._results[worker], self._weights[worker]
        return data
