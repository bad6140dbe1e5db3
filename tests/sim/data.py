"""Owns the simulated data directory: lives, backups, and what others delete from its bus."""

import random
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from control.bus.embedded.log import Journal
from control.core.epochs import last_id_before
from control.core.offsets import OffsetTracker
from control.model.bus.records import Record
from control.model.bus.reports import RecordsLost
from control.model.life import Life
from control.model.names import FACTS_FILE, LOGS_FOLDER, STATE_FILE, Group, Topic
from control.process import backups, data_epochs
from store.bus_log import SqliteLogRows
from store.database.state import open_state
from store.epoch import Witness
from store.facts.database import Facts
from store.log_files import LogFiles
from tests.sim.checks import Log
from tests.sim.timetable import Timetable

READERS: Final[Mapping[Topic, tuple[Group, ...]]] = MappingProxyType(
    {
        Topic.TASK_RUNS: (Group.BALANCER,),
        Topic.TASK_RUNS_LOAD_BALANCED: (Group.DISPATCHER,),
        Topic.TASK_RUN_EVENTS: (Group.TRIGGER,),
        Topic.TASK_RUN_RESULTS: (Group.TRIGGER, Group.STATISTICS),
        Topic.TASK_COMMANDS: (Group.BALANCER,),
    }
)
_BUS_TABLES: Final = ("bus_log", "bus_groups")


class Backup(msgspec.Struct, frozen=True):
    """A copy of the data, and what the world knew when it was made."""

    path: Path
    is_archive: bool  # Of `tpctl backup`; else the database alone was copied.
    log: Log
    timetable: Timetable
    submitted: list[int]
    last_run_id: int
    stepped_ms: int
    commits: int  # That there had been.


class DataDirectory:
    """`spread`: the bus is not part of the data, as with Kafka, and outlives a restore."""

    def __init__(self, path: Path, *, spread: bool, with_facts: bool) -> None:
        self.path = path
        self.spread = spread
        self.backups: list[Backup] = []
        self._made = 0
        self.lost: list[Record] = []  # What readers will say of records that are gone.
        self.witness = Witness(path)
        self.facts = Facts(path / FACTS_FILE) if with_facts else None

    def enter(self, now_ms: int) -> Life:
        """A start: which life of the data it is."""
        with closing(open_state(self.path / STATE_FILE)) as conn:
            conn.execute("PRAGMA synchronous = OFF")
            files = LogFiles(self.path / LOGS_FOLDER)
            journal = Journal(SqliteLogRows())
            return data_epochs.enter_life(
                conn,
                self.witness,
                files,
                now_ms=now_ms,
                jobs_to_publish=self.spread,
                unread=lambda topic, group: (
                    () if self.spread else journal.unread(conn, topic, group)
                ),
            )

    def leave(self) -> None:
        """The process is gone."""
        self.witness.close()
        if self.facts is not None:
            self.facts.close()

    def back_up(self, rng: random.Random, now_ms: int) -> tuple[Path, bool]:
        """Copy what is there now, while it is in use."""
        is_archive = self.facts is not None and rng.random() < 0.5
        self._made += 1
        path = self.path.with_name(f"{self.path.name}.backup{self._made}")
        if is_archive:
            backups.create(self.path, path, self._export, version="sim", now_ms=now_ms)
        else:
            source = f"{(self.path / STATE_FILE).as_uri()}?mode=ro"
            with (
                closing(sqlite3.connect(source, uri=True)) as live,
                closing(sqlite3.connect(path)) as copy,
            ):
                live.backup(copy)
        return path, is_archive

    def _export(self, path: Path) -> None:
        assert self.facts is not None
        self.facts.export(path, "parquet")

    def restore(self, backup: Backup, now_ms: int) -> set[tuple[int, int]]:
        """Put a backup in the place of what is there; on Kafka the bus stays as it is.

        Gives the attempts that have ended by the state, and are no facts.
        """
        state, before = self.path / STATE_FILE, self.path.with_name("before.db")
        with (
            closing(sqlite3.connect(state)) as live,
            closing(sqlite3.connect(before)) as copy,
        ):
            live.backup(copy)
        if backup.is_archive:
            backups.restore(backup.path, self.path, now_ms=now_ms)
        else:
            for name in (f"{STATE_FILE}-wal", f"{STATE_FILE}-shm"):
                (self.path / name).unlink(missing_ok=True)
            shutil.copyfile(backup.path, state)
        if self.spread:
            with closing(sqlite3.connect(state, isolation_level=None)) as conn:
                conn.execute("ATTACH ? AS old", (str(before),))
                for table in _BUS_TABLES:
                    conn.execute(f"DELETE FROM main.{table}")
                    conn.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")
        before.unlink()
        # Of a life that is lost now only archives have the facts.
        after = self.backups.index(backup) + 1
        self.backups[after:] = [each for each in self.backups[after:] if each.is_archive]
        return self._uncounted()

    def _uncounted(self) -> set[tuple[int, int]]:
        if self.facts is None:
            return set()
        with closing(sqlite3.connect(self.path / STATE_FILE)) as conn:
            sql = "SELECT id, attempt FROM jobs WHERE state IN ('DONE', 'ERROR', 'CANCELLED')"
            ended = set(conn.execute(sql))
        with self.facts._cursor() as cursor:  # noqa: SLF001 - No report has each fact.
            counted = cursor.execute("SELECT job_id, attempt FROM facts").fetchall()
        self.facts.close()
        return ended.difference(counted)

    def lose(self, topic: Topic, *, anew: bool) -> None:
        """Others delete a topic's records; `anew`: the topic itself, so its offsets begin again.

        What its readers say of that on Kafka is in `lost` until the next start.
        """
        with closing(sqlite3.connect(self.path / STATE_FILE, isolation_level=None)) as conn:
            progress = {
                (Group(group), partition): OffsetTracker.decode(text)
                for group, partition, text in conn.execute(
                    "SELECT name, partition, progress FROM bus_groups WHERE topic = ?", (topic,)
                )
            }
            sql = """SELECT partition, max(first_offset + count) FROM bus_log WHERE topic = ?
                     GROUP BY partition"""
            ends = dict(conn.execute(sql, (topic,)))
            conn.execute("DELETE FROM bus_log WHERE topic = ?", (topic,))
            for partition in ends:  # Of what a group has finished nothing yet, it misses all.
                for group in READERS[topic]:
                    progress.setdefault((group, partition), OffsetTracker(0))
            for (group, partition), tracker in progress.items():
                end = max(ends.get(partition, 0), tracker.watermark)
                new = OffsetTracker(0 if anew else end)
                sql = """INSERT INTO bus_groups (name, topic, partition, progress)
                         VALUES (?, ?, ?, ?)
                         ON CONFLICT DO UPDATE SET progress = excluded.progress"""
                conn.execute(sql, (group, topic, partition, new.encode()))
                if anew or tracker.watermark < end:
                    lost = RecordsLost(
                        topic=topic, group=group, partition=partition, below=new.watermark
                    )
                    self.lost.append(Record(Topic.TASK_RUN_EVENTS, lost, 0))


def check_life(life: Life, backup: Backup, epochs: int) -> None:
    """Doctor says what happened, and ids begin anew. `epochs`: how many there were before."""
    assert life.epoch == epochs + 1, life
    assert life.last_run_id == backup.last_run_id, life
    check = data_epochs.restored_check(life)
    assert check is not None
    assert f"whose last run was {backup.last_run_id}:" in check.detail
    assert f"{last_id_before(life.epoch) + 1:,}" in check.detail
