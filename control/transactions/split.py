"""Owns the split that operators set, inside the transaction that changes it.

It is kept in the state, wins over what the settings say, and is told to every balancer that starts.
"""

from typing import Final

from control.model.bus.messages import SplitChanged
from control.model.bus.records import Record
from control.model.names import Topic
from store import settings
from store.database.connection import Connection
from store.database.writer import Tx
from store.settings import Setting

_AUTO: Final = "auto"


def put(tx: Tx, slow_share: float | None) -> None:
    """From now on this share of the partitions is for slow jobs; None: it follows the mix."""
    settings.put(tx.conn, Setting.SPLIT, _AUTO if slow_share is None else repr(slow_share))
    tell(tx)


def kept(conn: Connection) -> SplitChanged | None:
    """What operators set last; None: nothing yet."""
    text = settings.get(conn, Setting.SPLIT)
    if text is None:
        return None
    return SplitChanged(slow_share=None if text == _AUTO else float(text))


def tell(tx: Tx) -> None:
    """To the balancer, if anything was ever set."""
    message = kept(tx.conn)
    if message is not None:
        tx.publish([Record(Topic.TASK_COMMANDS, message)])
