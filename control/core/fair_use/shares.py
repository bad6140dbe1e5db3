"""Decides who may hold how much of a bounded amount at once, and who is next when some is free.

Clients take turns: the client that was served longest ago is next. A client that holds its whole
share is passed over; a client whose ask does not fit yet is not, or many small asks would keep a
large one waiting for ever.
"""

from collections import OrderedDict, deque


class Ask:
    """One ask for an amount. `granted`: it is held now."""

    __slots__ = ("amount", "granted", "key")

    def __init__(self, key: str, amount: int) -> None:
        self.key = key
        self.amount = amount
        self.granted = False


class Shares:
    """A bounded amount (bytes, threads, streams) that clients share.

    `total`: of all; `each`: of one client at once; `waiting`: asks that may wait, and
    `waiting_each` of them of one client. An ask for more than `each` counts as `each`.
    """

    def __init__(self, *, total: int, each: int, waiting: int, waiting_each: int) -> None:
        assert 0 < each <= total
        self.total = total
        self.each = each
        self.held = 0
        self._waiting_max = waiting
        self._waiting_each_max = waiting_each
        self._held_by: dict[str, int] = {}
        self._lines: OrderedDict[str, deque[Ask]] = OrderedDict()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many asks wait."""
        return self._waiting

    def held_by(self, key: str) -> int:
        """How much a client holds."""
        return self._held_by.get(key, 0)

    def ask(self, key: str, amount: int = 1) -> Ask | None:
        """Ask for an amount; the ask is granted, or it waits. None: it may not even wait."""
        ask = Ask(key, min(amount, self.each))
        if not self._lines and self._fits(ask):
            self._grant(ask)
            return ask
        line = self._lines.get(key)
        # Those ahead of it in other lines may only wait for their own client's share.
        if line is None and self._fits(ask) and not self._may_grant_another():
            self._grant(ask)
            return ask
        if self._waiting >= self._waiting_max or len(line or ()) >= self._waiting_each_max:
            return None
        self._lines.setdefault(key, deque()).append(ask)
        self._waiting += 1
        return ask

    def give_back(self, ask: Ask) -> list[Ask]:
        """This one is held, or waited for, no more; gives the asks that are granted by it."""
        if ask.granted:
            ask.granted = False
            self.held -= ask.amount
            left = self._held_by[ask.key] - ask.amount
            if left:
                self._held_by[ask.key] = left
            else:
                del self._held_by[ask.key]
        else:
            line = self._lines.get(ask.key)
            if line is None or ask not in line:
                return []
            line.remove(ask)
            self._waiting -= 1
            if not line:
                del self._lines[ask.key]
        return self._serve()

    def _serve(self) -> list[Ask]:
        granted: list[Ask] = []
        while (ask := self._next()) is not None and self._fits(ask):
            line = self._lines.pop(ask.key)
            line.popleft()
            self._waiting -= 1
            if line:
                self._lines[ask.key] = line  # Behind all others.
            self._grant(ask)
            granted.append(ask)
        return granted

    def _next(self) -> Ask | None:
        """The first ask of the first client that does not hold its whole share."""
        for key, line in self._lines.items():
            if self.held_by(key) + line[0].amount <= self.each:
                return line[0]
        return None

    def _may_grant_another(self) -> bool:
        return self._next() is not None

    def _fits(self, ask: Ask) -> bool:
        within = self.held_by(ask.key) + ask.amount <= self.each
        return within and self.held + ask.amount <= self.total

    def _grant(self, ask: Ask) -> None:
        ask.granted = True
        self.held += ask.amount
        self._held_by[ask.key] = self.held_by(ask.key) + ask.amount
