"""Owns what the checks see of each commit: which rows changed, and what came onto the bus."""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from control.model.bus.messages import BATCH_DECODER, Message
from store.bus_log import SqliteLogRows

_WATCHES = """
CREATE TEMP TABLE sim_changes (what TEXT, id INTEGER, run_id INTEGER, before TEXT, after TEXT);
CREATE TEMP TRIGGER sim_job_new AFTER INSERT ON main.jobs BEGIN
    INSERT INTO sim_changes VALUES ('job', new.id, new.run_id, NULL, new.state);
END;
CREATE TEMP TRIGGER sim_run_new AFTER INSERT ON main.runs BEGIN
    INSERT INTO sim_changes VALUES ('run', new.id, new.id, NULL, new.state);
END;
CREATE TEMP TRIGGER sim_job_moves AFTER UPDATE OF state ON main.jobs
WHEN old.state <> new.state BEGIN
    INSERT INTO sim_changes VALUES ('job', new.id, new.run_id, old.state, new.state);
END;
CREATE TEMP TRIGGER sim_run_moves AFTER UPDATE OF state ON main.runs
WHEN old.state <> new.state BEGIN
    INSERT INTO sim_changes VALUES ('run', new.id, new.id, old.state, new.state);
END;
"""


class Moved(msgspec.Struct, frozen=True):
    """A job or a run has another state; `before` None: it is new."""

    what: str
    id: int
    run_id: int
    before: str | None
    after: str


def watch(conn: sqlite3.Connection) -> None:
    """From now on note what changes on this connection."""
    conn.executescript(_WATCHES)


def moves(conn: sqlite3.Connection) -> Sequence[Moved]:
    """What has changed since the last call, in order."""
    found = [Moved(*row) for row in conn.execute("SELECT * FROM sim_changes ORDER BY rowid")]
    if found:
        conn.execute("DELETE FROM sim_changes")
    return found


class TappedRows(SqliteLogRows):
    """The tables of the bus, and what was appended to them since it was asked last."""

    def __init__(self) -> None:
        self._appended: list[tuple[str, int, int, bytes]] = []

    def append(
        self, conn: sqlite3.Connection, lane: tuple[str, int], first: int, count: int, body: bytes
    ) -> None:
        """Add one batch."""
        super().append(conn, lane, first, count, body)
        self._appended.append((*lane, first, body))

    def appended(self) -> Iterator[tuple[str, int, int, Message]]:
        """Topic, partition, offset, and message."""
        found, self._appended = self._appended, []
        for topic, partition, first, body in found:
            for offset, message in enumerate(BATCH_DECODER.decode(body), first):
                yield topic, partition, offset, message
