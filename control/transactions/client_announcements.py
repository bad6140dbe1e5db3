"""Owns how clients become known outside the state, inside the transaction that changes them.

The balancer goes by their limits; dispatchers elsewhere let in workers by their secrets' hashes.
"""

from typing import Final

from control.model import limits
from control.model.api.views import ClientView
from control.model.bus.messages import ClientChanged
from control.model.bus.records import Record
from control.model.names import Topic
from control.model.states import Role
from store import clients
from store.database.writer import Tx

_MAY_WORK: Final = frozenset({Role.WORKER, Role.ADMIN})


def tell(tx: Tx, client: ClientView) -> None:
    """A client is new, or changed: what it has waiting is bound by this too."""
    login = clients.login(tx.conn, client.client_id)
    may_work = login is not None and login.enabled and login.role in _MAY_WORK
    message = ClientChanged(
        client=client.client_id,
        priority=client.priority,
        max_running=client.max_running,
        role=login.role if login is not None and may_work else None,
        secret_hash=login.secret_hash if login is not None and may_work else None,
    )
    tx.publish([Record(Topic.TASK_COMMANDS, message)])


def tell_all(tx: Tx) -> None:
    """To who starts: what the balancer reads back of waiting jobs is as old as they are."""
    after = ""
    while page := clients.listing(tx.conn, after=after, limit=limits.PAGE_MAX):
        for client in page:
            tell(tx, client)
        after = page[-1].client_id
