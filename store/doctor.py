"""Decides whether the state database is sound: rules no transaction may break, said in words.

It reads everything, so it is for `tpctl doctor`, never for a running service's path.
"""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from store.queries import Statements

_SQL: Final = Statements("doctor")
# Each gives one sentence a row, and none when all is well.
_RULES: Final = (
    "foreign_keys",
    "waiting",
    "ended_with_open_jobs",
    "open_without_open_jobs",
    "job_ranges",
    "jobs_without_run",
    "outputs_without_job",
    "attempts_without_job",
    "unknown_revisions",
    "log_overlaps",
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, and the rule that found it."""

    rule: str
    message: str


def examine(conn: sqlite3.Connection, watermark_of: Callable[[bytes], int]) -> list[Finding]:
    """Everything found wrong, at most 20 of each rule.

    `watermark_of` reads a consumer group's progress: `OffsetTracker.decode(…).watermark`.
    """
    found = [
        Finding(rule="integrity", message=text)
        for (text,) in conn.execute(_SQL["integrity"])
        if text != "ok"
    ]
    for rule in _RULES:
        found += [Finding(rule=rule, message=text) for (text,) in conn.execute(_SQL[rule])]
    found += [Finding(rule="groups", message=text) for text in _groups(conn, watermark_of)]
    return found


def _groups(conn: sqlite3.Connection, watermark_of: Callable[[bytes], int]) -> Iterator[str]:
    kept = {row[:2]: row[2:] for row in conn.execute(_SQL["log_ends"])}
    for group, topic, partition, progress in conn.execute(_SQL["groups"]):
        if (topic, partition) not in kept:
            continue  # Everybody is past everything: the log is empty.
        first, end = kept[topic, partition]
        watermark = watermark_of(progress)
        where = f"{group} in {topic}, partition {partition},"
        if watermark > end:
            yield f"{where} has finished offset {watermark - 1}, but the log ends before {end}"
        elif watermark < first:
            yield f"{where} still needs offset {watermark}, but the log begins at {first}"
