"""Decides what a user's SQL may reach and take: the facts, a little memory, a little time."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from control.model import limits
from control.model.api.reports import QueryResult
from control.model.errors import Rejected
from store.facts.database import Facts
from store.facts.user_queries import UserQueries
from tests.store.facts.fact_samples import NOW_MS, TOPIC, fact, skipped

# Joins everything with everything: days.
ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range = b.range*7"


class Asked:
    """A file of facts, and queries to it."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.queries = UserQueries(self._copy)

    async def _copy(self) -> tuple[Path, Sequence[str]]:
        return await trio.to_thread.run_sync(self.facts.copy)

    async def query(self, sql: str, limit: int = limits.QUERY_ROWS_MAX) -> QueryResult:
        answer = await self.queries.query(sql, limit)
        return msgspec.json.decode(answer, type=QueryResult)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    facts = Facts(tmp_path / "facts.duckdb")
    yield Asked(facts)
    facts.close()


async def test_a_query_gives_rows_up_to_its_limit(asked: Asked) -> None:
    asked.facts.append([fact(i) for i in range(10)], TOPIC, {0: 9})
    result = await asked.query("SELECT job_id, pipeline FROM facts ORDER BY 1 DESC;\n", limit=2)
    assert result.columns == ("job_id", "pipeline")
    assert result.rows == ((9, "nightly"), (8, "nightly"))
    assert result.truncated
    odd = await asked.query("SELECT 1.5, [1], {'a': DATE '2026-01-02'}, DATE '2026-01-02', NULL")
    assert odd.rows == ((1.5, "[1]", '{"a":"2026-01-02"}', "2026-01-02", None),)
    assert not odd.truncated
    exact = await asked.query("SELECT job_id FROM facts", limit=10)
    assert len(exact.rows) == 10
    assert not exact.truncated


async def test_times_with_a_zone_are_given_in_utc(asked: Asked) -> None:
    sql = "SELECT now() > TIMESTAMPTZ '2020-01-01', TIMESTAMPTZ '2026-01-02 03:00:00+02', [now()]"
    ((later, time, _),) = (await asked.query(sql)).rows
    assert (later, time) == (True, "2026-01-02 01:00:00+00:00")


async def test_each_query_sees_all_that_was_stored_before_it(asked: Asked) -> None:
    count, job_id = "SELECT count(*), min(job_id), max(job_id) FROM facts", 1
    assert (await asked.query(count)).rows == ((0, None, None),)
    for size in (1, 0, 5, 2):
        asked.facts.append([fact(job_id + i) for i in range(size)], TOPIC, {0: job_id})
        job_id += size
        assert (await asked.query(count)).rows == ((job_id - 1, 1, job_id - 1),)
    asked.facts.append([skipped(job_id)], TOPIC, {0: 100})
    same = "SELECT wait_seconds, worker, error, final FROM facts WHERE worker IS NULL"
    assert len((await asked.query(same)).rows) == 1
    asked.facts.prune(NOW_MS * 2)
    assert (await asked.query(count)).rows == ((0, None, None),)


async def test_a_copy_grows_by_parts_and_is_put_together_again(asked: Asked) -> None:
    for number in range(limits.QUERY_PARTS_MAX + 3):
        asked.facts.append([fact(number)], TOPIC, {0: number})
        directory, parts = asked.facts.copy()
        assert len(parts) <= limits.QUERY_PARTS_MAX
    assert sorted(each.name for each in directory.glob("*.parquet")) == sorted(parts)
    count = limits.QUERY_PARTS_MAX + 3
    assert (await asked.query("SELECT count(*) FROM facts")).rows == ((count,),)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "no sql",
        "SELECT 1; SELECT 2",
        "INSERT INTO facts SELECT * FROM facts",
        "DELETE FROM facts",
        "DROP VIEW facts",
        "WITH gone AS (DELETE FROM facts RETURNING *) SELECT * FROM gone",
        "COPY facts TO 'x.csv'",
        "ATTACH 'x.db'",
        "SET threads = 8",
        "PRAGMA database_list",
        "BEGIN",
        "COMMIT",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM query('DROP VIEW facts')",
        "FROM limits",
        "INSTALL httpfs",
    ],
)
async def test_a_query_only_reads_the_facts(asked: Asked, sql: str) -> None:
    asked.facts.append([fact(1)], TOPIC, {0: 0})
    with pytest.raises(Rejected):
        await asked.query(sql)
    assert (await asked.query("SELECT count(*) FROM facts")).rows == ((1,),)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT repeat('x', 1000000) FROM range(10000)",
        "SELECT repeat('x', 2000000000)",
        "SELECT list(range) FROM range(1000000000)",
        "SELECT string_agg(repeat('y', 1000)) FROM range(10000000)",
        "SELECT repeat('x', 10000) AS b, range FROM range(10000000) ORDER BY b, range DESC",
        "SELECT lpad('', 1000000000, 'x') || lpad('', 1000000000, 'y')",
    ],
)
async def test_a_query_that_needs_much_memory_is_refused_in_words(asked: Asked, sql: str) -> None:
    with pytest.raises(Rejected, match=r"MiB of memory|longer than|too much memory"):
        await asked.queries.query(sql, 1_000, timeout_s=2)


async def test_an_answer_is_cut_at_its_bytes_and_a_huge_value_is_refused(asked: Asked) -> None:
    many = await asked.queries.query("SELECT repeat('x', 10000) FROM range(10000)", 10_000)
    assert len(many) < limits.QUERY_BYTES_MAX + 100_000
    assert msgspec.json.decode(many, type=QueryResult).truncated
    with pytest.raises(Rejected, match=r"value of the column 'v' has 2000002 bytes"):
        await asked.query("SELECT repeat('x', 2000000) AS v")


async def test_a_query_that_takes_too_long_is_ended(asked: Asked) -> None:
    with pytest.raises(Rejected, match="longer than"):
        await asked.queries.query(ENDLESS, 1, timeout_s=0.5)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(asked.queries.query, ENDLESS, 1, timeout_s=60))
            await asked.query("SELECT 1")
            nursery.cancel_scope.cancel()
