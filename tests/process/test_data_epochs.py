"""Decides in which life of the data a start is, whatever was put into the directory before it."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from control.core.epochs import IDS_EACH
from control.model.bus.messages import LogChunk, Message
from control.model.life import DatabasePosition, Life
from control.model.names import Group, Topic
from control.process import data_epochs
from store import epoch
from store.database.state import open_state
from store.epoch import Witness
from store.log_files import LogFiles
from store.outbox import SqliteOutboxRows
from tests.services.plane import EPOCH_MS
from tests.services.test_statistics import finished

_RUN = """
INSERT INTO runs (id, revision_id, pipeline, client_id, trigger, state, reason, priority,
                  created_ms, first_job_id, job_count)
VALUES (?, 1, 'p', 'ann', 'api', 'READY', 'waits', 10, 0, ?, 1)
"""
_JOB = (
    "INSERT INTO jobs (id, run_id, idx, state, reason, priority) VALUES (?, ?, 0, ?, 'waits', 10)"
)


class Directory:
    """A data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state.db"
        conn = open_state(self.state)
        conn.execute(
            "INSERT INTO revisions (id, pipeline, definition, digest, client_id, created_ms)"
            " VALUES (1, 'p', '{}', x'00', 'ann', 0)"
        )
        conn.close()

    def start(self, unread: Sequence[Message] = ()) -> Life:
        """A start, and its end. `unread`: what has ended, as the trigger is still to read."""
        conn, witness = open_state(self.state), Witness(self.path)
        life = data_epochs.enter_life(
            conn,
            witness,
            LogFiles(self.path / "logs"),
            now_ms=EPOCH_MS,
            jobs_to_publish=True,
            unread=lambda topic, group: (
                unread if (topic, group) == (Topic.TASK_RUN_RESULTS, Group.TRIGGER) else ()
            ),
        )
        witness.close()
        conn.close()
        return life

    def commit(self, run: int, state: str = "READY") -> None:
        """A run is submitted."""
        conn, witness = open_state(self.state), Witness(self.path)
        conn.execute("BEGIN")
        conn.execute(_RUN, (run, run))
        conn.execute(_JOB, (run, run, state))
        SqliteOutboxRows().append(conn, run, b"")
        after = witness.note(conn)
        conn.execute("COMMIT")
        after()
        witness.close()
        conn.close()

    def log(self, job: int, attempt: int) -> None:
        """An attempt writes its log."""
        files = LogFiles(self.path / "logs")
        chunk = LogChunk(job_id=job, attempt=attempt, offset=0, text="x")
        files.append({(job, attempt): [chunk]})
        files.close()

    def logs(self) -> list[str]:
        """Those that are there."""
        return sorted(path.name for path in (self.path / "logs").rglob("*.log"))


def test_a_backup_begins_another_life_once(tmp_path: Path) -> None:
    data = Directory(tmp_path)
    assert data.start().epoch == 1
    data.commit(1)
    data.commit(2, "IN_PROGRESS")
    backup = data.state.read_bytes()
    data.commit(3)
    assert data.start().epoch == 1
    for job, attempt in ((1, 1), (2, 1), (2, 2), (3, 1)):
        data.log(job, attempt)
    data.state.write_bytes(backup)
    life = data.start()
    assert (life.epoch, life.began_ms, life.jobs_to_publish) == (2, EPOCH_MS, True)
    assert (life.last_run_id, life.last_job_id) == (2, 2)
    # What would be taken for the logs of attempts that are still to come is gone.
    assert data.logs() == ["2.1.log", "3.1.log"]
    conn = sqlite3.connect(data.state)
    assert epoch.last_id(conn) == 2 * IDS_EACH
    # Kafka knows how many rows of the lost life were relayed: no row of this one is among them.
    rows = SqliteOutboxRows().after(conn, 0, 10)
    assert [row for row, _ in rows] == [2 * 10**12 - 1, 2 * 10**12]
    conn.close()
    assert data.start().epoch == 2
    data.state.write_bytes(backup)
    assert data.start().epoch == 3


def test_the_log_of_what_has_ended_stays_though_the_state_does_not_know_it(tmp_path: Path) -> None:
    data = Directory(tmp_path)
    data.start()
    for job in (1, 2):
        data.commit(job)
    backup = data.state.read_bytes()
    data.commit(3)
    for job, attempt in ((1, 1), (1, 2), (2, 1), (3, 1)):
        data.log(job, attempt)
    data.state.write_bytes(backup)
    # Both wait, as far as the state knows; the end of one is in its log, on the way to the trigger.
    data.start(unread=[finished(1, pipeline="p", client="ann")])
    assert data.logs() == ["1.1.log", "3.1.log"]


def test_an_end_that_names_a_job_with_another_run_or_pipeline_is_foreign(tmp_path: Path) -> None:
    data = Directory(tmp_path)
    data.start()
    data.commit(1)
    backup = data.state.read_bytes()
    data.commit(2)
    data.log(1, 1)
    data.state.write_bytes(backup)
    foreign = finished(1, run_id=2, pipeline="p", client="ann"), finished(1, pipeline="theirs")
    data.start(unread=foreign)
    assert data.logs() == []


def test_a_crash_while_a_life_begins_loses_nothing_of_what_is_known(tmp_path: Path) -> None:
    data = Directory(tmp_path)
    data.start()
    data.commit(7)
    witness = Witness(tmp_path)
    witness.write(DatabasePosition(2, 2))  # That far it came.
    witness.close()
    life = data.start()
    assert (life.epoch, life.last_run_id) == (3, 7)
    assert data.start().epoch == 3
