"""Owns the counts of what the bounds delayed and refused, and how often that is logged."""

from collections import Counter

import structlog
import trio

from control.model import limits
from control.model.names import Bound, Effect

LOG = structlog.get_logger("fair_use")


class LimitCounters:
    """Counts for Prometheus; every bound of a process has the same one."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Bound, Effect]] = Counter()
        self._logged_at: dict[Bound, float] = {}

    def delayed(self, bound: Bound) -> None:
        """Something had to wait."""
        self.counts[bound, Effect.DELAYED] += 1

    def refused(self, bound: Bound, **fields: str) -> None:
        """Something was refused or ended; at most one line in ten seconds says so."""
        self.counts[bound, Effect.REFUSED] += 1
        now = trio.current_time()
        if now >= self._logged_at.get(bound, 0.0) + limits.COMPLAINT_EVERY_S:
            self._logged_at[bound] = now
            refused = self.counts[bound, Effect.REFUSED]
            LOG.warning("fair_use.refused", bound=bound.value, so_far=refused, **fields)
