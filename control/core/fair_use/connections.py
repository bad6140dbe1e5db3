"""Decides which connections a door lets in: so many in all, and so many of one address.

A connection that has not made a request yet is pending. At a full door the oldest pending one of
the address with the most of them makes room: idle sockets never keep a request out.
"""

from collections import OrderedDict, defaultdict
from typing import Final, NamedTuple


class Admission(NamedTuple):
    """Whether a connection is let in, and which other one has to go for it."""

    admitted: bool
    evicted: int | None = None


_REFUSED: Final = Admission(admitted=False)


class Connections:
    """The connections of one door, by number. `total`, `each`: of all, and of one address."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._of: dict[int, str] = {}
        self._count: defaultdict[str, int] = defaultdict(int)
        self._pending: dict[str, OrderedDict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def admit(self, number: int, address: str) -> Admission:
        """A new connection; an evicted one counts no more."""
        evicted = None
        if self._count.get(address, 0) >= self._each:
            evicted = self._oldest_pending(address)
            if evicted is None:
                return _REFUSED
        elif len(self._of) >= self._total:
            fullest = max(self._pending, key=lambda key: len(self._pending[key]), default=None)
            evicted = None if fullest is None else self._oldest_pending(fullest)
            if evicted is None:
                return _REFUSED
        if evicted is not None:
            self.remove(evicted)
        self._of[number] = address
        self._count[address] += 1
        self._pending.setdefault(address, OrderedDict())[number] = None
        return Admission(admitted=True, evicted=evicted)

    def established(self, number: int) -> None:
        """It has made a request: it stays until it ends."""
        address = self._of.get(number)
        if address is not None:
            self._no_longer_pending(address, number)

    def remove(self, number: int) -> None:
        """It has ended."""
        address = self._of.pop(number, None)
        if address is None:
            return
        self._no_longer_pending(address, number)
        self._count[address] -= 1
        if not self._count[address]:
            del self._count[address]

    def _no_longer_pending(self, address: str, number: int) -> None:
        pending = self._pending.get(address)
        if pending is not None:
            pending.pop(number, None)
            if not pending:
                del self._pending[address]

    def _oldest_pending(self, address: str) -> int | None:
        return next(iter(self._pending.get(address, ())), None)
