"""Owns which clients may connect workers, where the state database is elsewhere.

The state's owner tells each change, and all clients to a dispatcher that announces itself.
"""

import math
from collections.abc import Callable

import structlog
import trio

from control.bus.interface import Bus, Subscription
from control.model import limits
from control.model.bus.messages import Announce, ClientChanged
from control.model.bus.records import Record
from control.model.errors import BusUnavailable, Unavailable
from control.model.names import Service, Topic
from store.clients import StoredSecret

LOG = structlog.get_logger("worker_keys")


class WorkerKeys:
    """The clients as they were told of. `changed`: called whenever one is other than before."""

    def __init__(self, bus: Bus, changed: Callable[[], None]) -> None:
        self._bus = bus
        self._changed = changed
        self._logins: dict[str, StoredSecret] = {}
        self._settled_at = math.inf  # From then on, who is not known does not exist.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        commands = await self._begin()
        task_status.started()
        while True:
            try:
                deliveries = await commands.receive()
            except BusUnavailable as error:  # A change may have been missed: ask for all.
                LOG.warning("worker_keys.gap", reason=str(error))
                commands = await self._begin()
                continue
            for delivery in deliveries:
                if isinstance(delivery.message, ClientChanged):
                    self._take(delivery.message)

    async def login(self, client_id: str) -> StoredSecret | None:
        """What to check a client's secret against; None: it may not connect workers.

        Raises `Unavailable` as long as it may only not have been told of yet.
        """
        await trio.lowlevel.checkpoint()
        found = self._logins.get(client_id)
        if found is None and trio.current_time() < self._settled_at:
            message = "the clients are not known yet; try again"
            raise Unavailable(message)
        return found

    async def _begin(self) -> Subscription:
        self._logins.clear()
        self._settled_at = math.inf
        self._changed()
        commands = await self._bus.tail(Topic.TASK_COMMANDS)
        await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.DISPATCHER))])
        return commands

    def _take(self, message: ClientChanged) -> None:
        before = self._logins.pop(message.client, None)
        after = None
        if message.role is not None and message.secret_hash is not None:
            after = StoredSecret(secret_hash=message.secret_hash, role=message.role, enabled=True)
            self._logins[message.client] = after
        if after != before:
            self._changed()
        # The others come with the first, or soon after it.
        first_s = trio.current_time() + limits.KEYS_SETTLE_S
        self._settled_at = min(self._settled_at, first_s)
