"""Owns how the limits of clients reach the balancer, inside the transaction that sets them."""

from control.model import limits
from control.model.messages import ClientChanged
from control.model.names import Topic
from control.model.records import Record
from control.model.views import ClientView
from store import clients
from store.writer import Tx


def tell(tx: Tx, client: ClientView) -> None:
    """A client is new, or changed: what it has waiting is bound by this too."""
    message = ClientChanged(
        client=client.client_id, priority=client.priority, max_running=client.max_running
    )
    tx.publish([Record(Topic.TASK_COMMANDS, message)])


def tell_all(tx: Tx) -> None:
    """At a start: what the balancer reads back of waiting jobs is as old as they are."""
    after = ""
    while page := clients.listing(tx.conn, after=after, limit=limits.PAGE_MAX):
        for client in page:
            tell(tx, client)
        after = page[-1].client_id
