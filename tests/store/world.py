"""Gives tests a real state database in a file, and runs to put into it."""

import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from control.bus.embedded.log import Journal
from control.model.pipelines import JobSpec, Pipeline
from control.model.state_rows import NewRun, RunRow
from control.model.states import Role, Trigger
from control.transactions.graphs import Graphs
from control.transactions.run_transactions import Ledger
from store import catalog, clients
from store.bus_log import SqliteLogRows
from store.database.migrations import migrate
from store.database.writer import Tx

NOW_MS: Final = 1_795_000_000_000
TERMS: Final = clients.Terms(
    role=Role.SUBMITTER, priority=10, max_queued=None, max_running=None, enabled=True
)


def open_state(path: Path) -> sqlite3.Connection:
    """The write connection of a new database."""
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA foreign_keys = ON")
    migrate(conn)
    return conn


def pipeline(name: str = "nightly", jobs: int = 2, **more: int | str) -> Pipeline:
    """A pipeline of two stages; its last job is the only one of the second."""
    specs = [JobSpec(name=f"j{n}", stage="a", kind="Sleep", version="1.0.0") for n in range(jobs)]
    specs.append(JobSpec(name="last", stage="b", kind="Sleep", version="1.0.0"))
    value = Pipeline(name=name, stages=("a", "b"), jobs=tuple(specs))
    return msgspec.structs.replace(value, **more)


class World:
    """A database with the ledger that writes to it."""

    def __init__(self, path: Path) -> None:
        self.conn = open_state(path)
        self.ledger = Ledger(Graphs(), queue_size=100_000, steady_ms=lambda: NOW_MS)
        self._journal = Journal(SqliteLogRows())

    def client(self, name: str, role: Role = Role.SUBMITTER) -> None:
        """Add a client."""
        terms = msgspec.structs.replace(TERMS, role=role)
        clients.create(self.conn, name, terms, secret_hash="none", now_ms=NOW_MS)

    def submit(
        self, definition: Pipeline, client: str, *, at_ms: int = NOW_MS, count: int = 1
    ) -> list[RunRow]:
        """Start runs of a stored pipeline."""
        revision_id = catalog.put(self.conn, definition, client, now_ms=at_ms).revision_id
        new = NewRun(
            revision_id=revision_id,
            client=client,
            client_priority=10,
            max_running=None,
            trigger=Trigger.API,
            created_ms=at_ms,
            input=msgspec.Raw(b'{"a":1}'),
        )
        tx = Tx(self.conn)
        runs = self.ledger.submit(tx, [new] * count)
        self._journal.persist(self.conn, [tx])
        return runs

    def cancel(self, run_id: int, *, at_ms: int = NOW_MS) -> None:
        """End a run."""
        self.ledger.cancel_run(Tx(self.conn), run_id, "by order", now_ms=at_ms)
