"""Owns which clients may connect workers, where the state database is elsewhere.

The state's owner tells each change, and all clients to a dispatcher that announces itself.
"""

import math
from collections.abc import Callable

import trio

from control.bus.interface import Bus
from control.bus.tailing import follow
from control.model import limits
from control.model.bus.messages import Announce, ClientChanged
from control.model.bus.records import Record
from control.model.errors import Unavailable
from control.model.names import Service, Topic
from store.clients import StoredSecret


class WorkerKeys:
    """The clients as they were told of. `changed`: called whenever one is other than before."""

    def __init__(self, bus: Bus, changed: Callable[[], None]) -> None:
        self._bus = bus
        self._changed = changed
        self._logins: dict[str, StoredSecret] = {}
        self._settled_at = math.inf  # From then on, who is not known does not exist.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        self._forget()
        # After a gap a change may have been missed: nobody is let in until all are known again.
        commands = await follow(
            self._bus, Topic.TASK_COMMANDS, "worker_keys", self._ask, self._forget
        )
        await self._ask()
        task_status.started()
        while True:
            for message in await commands.receive():
                if isinstance(message, ClientChanged):
                    self._take(message)

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

    def _forget(self) -> None:
        self._logins.clear()
        self._settled_at = math.inf
        self._changed()

    async def _ask(self) -> None:
        await self._bus.publish([Record(Topic.TASK_COMMANDS, Announce(by=Service.DISPATCHER))])

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
