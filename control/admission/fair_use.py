"""Owns all that clients share in one process: its pools, threads, doors, and their counts."""

from collections.abc import Iterable

from control.admission.door import ConnectionLimiter
from control.admission.lanes import AdmissionQueues
from control.admission.pool import Pool
from control.admission.tally import LimitCounters
from control.core.fair_use.hosts import Hosts
from control.model import limits
from control.model.names import Bound


class FairUse:
    """Made once for a process. `connections`: for each door; `allowed_hosts`: names it is called.

    A pool's `each` is less than its total wherever one client could else keep out all others.
    """

    def __init__(
        self,
        *,
        connections: int = limits.CONNECTIONS_DEFAULT,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        self._connections = connections
        self.tally = tally = LimitCounters()
        self.lanes = AdmissionQueues()
        self.hosts = Hosts(allowed_hosts)
        self.bodies = Pool(
            Bound.BODIES, tally, total=limits.BODIES_BYTES_MAX, each=limits.BODIES_BYTES_EACH
        )
        self.answers = Pool(
            Bound.ANSWERS, tally, total=limits.ANSWERS_BYTES_MAX, each=limits.ANSWERS_BYTES_EACH
        )
        self.frames = Pool(
            Bound.FRAMES, tally, total=limits.FRAMES_BYTES_MAX, each=limits.FRAME_BYTES_MAX
        )
        self.parsing = Pool(Bound.PARSING, tally, total=limits.EXPENSIVE_PARSING_MAX, each=1)
        self.bulk = Pool(Bound.BULK, tally, total=limits.BULK_MAX, each=limits.BULK_MAX)
        self.reports = Pool(Bound.REPORTS, tally, total=1, each=1)
        self.queries = Pool(Bound.QUERIES, tally, total=limits.QUERIES_MAX, each=1)
        self.exports = Pool(Bound.EXPORTS, tally, total=limits.EXPORTS_MAX, each=1)
        self.followers = Pool(
            Bound.FOLLOWERS,
            tally,
            total=limits.FOLLOWERS_MAX,
            each=limits.FOLLOWERS_EACH,
            waiting=0,
        )

    def door(self, bound: Bound) -> ConnectionLimiter:
        """A new door."""
        return ConnectionLimiter(bound, self.tally, self._connections)
