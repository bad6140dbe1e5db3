"""Keeps the leases that workers say they have, until their records come or their time is over.

A dispatcher starts, or takes a partition over, while jobs run: who runs them may tell of it before
the records are read. Their results wait here too: they count once, together with the record.
"""

from collections.abc import Iterable

import msgspec

from control.model.worker import wire
from control.model.worker.wire import Lease


def is_foreign(client: str, owner: str) -> bool:
    """Whether a lease belongs to another client. One that is not known fits everybody."""
    return bool(client) and bool(owner) and client != owner


class Claim(msgspec.Struct):
    """What a worker said of a lease whose record is not here."""

    worker: str
    client: str
    ends_ms: int
    started_ms: int | None = None  # By our clock; None: it has not said so.
    result: wire.Ended | None = None


class Claims:
    """All claims of one dispatcher's workers."""

    def __init__(self) -> None:
        self._claims: dict[Lease, Claim] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def replace(self, worker: str, client: str, leases: Iterable[Lease], ends_ms: int) -> None:
        """A worker said hello: this is all it claims now. What it said again ends no later."""
        wanted = dict.fromkeys(leases)
        for lease, claim in list(self._claims.items()):
            if claim.worker == worker and claim.result is None and lease not in wanted:
                del self._claims[lease]
        for lease in wanted:
            self._claims.setdefault(lease, Claim(worker, client, ends_ms))

    def keep(self, lease: Lease, claim: Claim) -> None:
        """A lease's record went to another dispatcher, its worker is still here."""
        self._claims[lease] = claim

    def take(self, lease: Lease, owner: str) -> Claim | None:
        """Its record has come. A claim of another client than the lease's `owner` is void."""
        claim = self._claims.pop(lease, None)
        return None if claim is None or is_foreign(claim.client, owner) else claim

    def began(self, worker: str, lease: Lease, started_ms: int) -> bool:
        """A claimed attempt began. False: this worker has no such claim."""
        claim = self._claims.get(lease)
        if claim is None or claim.worker != worker:
            return False
        claim.started_ms = started_ms
        return True

    def ended(self, worker: str, frame: wire.Ended) -> bool:
        """A claimed attempt ended. False: this worker has no such claim."""
        claim = self._claims.get(frame.lease)
        if claim is None or claim.worker != worker:
            return False
        claim.result = claim.result or frame
        return True

    def due(self, now_ms: int) -> list[tuple[Lease, Claim]]:
        """Take out the claims whose time is over."""
        found = [(le, claim) for le, claim in self._claims.items() if claim.ends_ms <= now_ms]
        for lease, _ in found:
            del self._claims[lease]
        return found

    def next_ms(self) -> int | None:
        """When the first one's time is over."""
        return min((claim.ends_ms for claim in self._claims.values()), default=None)
