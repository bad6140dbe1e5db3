"""Owns what clients may: their priority, and how many of their jobs may run at once."""

import msgspec

from control.core.balancer.in_flight import InFlight
from control.model.bus.messages import JobReady


class Quotas:
    """All clients, as they were told of, or as the newest of their jobs says."""

    def __init__(self, outstanding: InFlight) -> None:
        self._outstanding = outstanding
        self._max: dict[str, int | None] = {}
        # Of clients that were told of: newer than what a job says that is read back or given back.
        self._priority: dict[str, int] = {}

    def told(self, client: str, priority: int, max_running: int | None) -> None:
        """A client's limits are these from now on."""
        self._max[client], self._priority[client] = max_running, priority

    def priority(self, client: str, max_running: int | None) -> int | None:
        """The priority a client was told to have; None: never, so its job's word counts."""
        priority = self._priority.get(client)
        if priority is None:
            self._max[client] = max_running
        return priority

    def max_running(self, client: str) -> int | None:
        """How many of its jobs may run at once; None: any number."""
        return self._max.get(client)

    def is_full(self, client: str) -> bool:
        """Whether no more of its jobs may run."""
        allowed = self._max.get(client)
        return allowed is not None and self._outstanding.clients.get(client, 0) >= allowed


def with_priority(job: JobReady, priority: int) -> JobReady:
    """The same job with another priority of its client."""
    return msgspec.structs.replace(job, order=(priority, *job.order[1:]))
