"""Decides that an engine inside of a process can cost its own job only, whatever becomes of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from control.model import limits
from control.model.errors import JobFailed
from control.model.worker.settings import SecretUrl
from tests.workers.kind_runs import Runs

CRASHES = "SELECT json_contains(repeat('[', 400000) || '1' || repeat(']', 400000), '2')"
ENDLESS = (
    "INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
)


async def rows(runs: Runs, sql: str) -> object:
    output = await runs(connection="sales", sql=sql)
    assert isinstance(output, dict)
    return output["rows"]


async def test_a_crash_fails_its_own_job_and_changes_nothing(
    query: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = query(sales=f"duckdb:///{tmp_path}/sales.duckdb")
    await rows(runs, "CREATE TABLE t AS SELECT 'before' AS i")
    for sql in (CRASHES, f"INSERT INTO t {CRASHES}"):
        with pytest.raises(
            JobFailed, match=r"the statement's own process .* 11 \(SIGSEGV"
        ) as caught:
            await rows(runs, sql)
        assert not caught.value.final
    assert await rows(runs, "SELECT * FROM t") == [["before"]]
    await rows(runs, "INSERT INTO t VALUES ('after')")


async def test_a_killed_transaction_is_undone(query: Callable[..., Runs], tmp_path: Path) -> None:
    file = tmp_path / "sales.db"
    runs = query(sales=f"sqlite:///{file}")
    await rows(runs, "CREATE TABLE t AS SELECT 'before' AS i")
    size = os.stat(file).st_size
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rows, runs, ENDLESS)
            while os.stat(file).st_size == size:  # noqa: ASYNC110 - Nothing tells that it writes.
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
    assert await rows(runs, "SELECT * FROM t") == [["before"]]
    await rows(runs, "INSERT INTO t VALUES ('after')")


async def test_an_output_of_quotes_has_its_whole_size(query: Callable[..., Runs]) -> None:
    sql = "SELECT repeat('\"', 1000) FROM range(1000)"
    result = await query(sales="duckdb://").raw({"connection": "sales", "sql": sql})
    assert 0.99 * limits.OUTPUT_BYTES_MAX < len(bytes(result.output)) <= limits.OUTPUT_BYTES_MAX


async def test_no_password_leaves_the_worker(query: Callable[..., Runs]) -> None:
    runs = query(sales=SecretUrl("sqlite://ann:s3cret@host/x.db", "0ther"))
    with pytest.raises(JobFailed, match="Invalid SQLite URL") as caught:
        await rows(runs, "SELECT 1")
    for words in (str(caught.value), runs.report.text):
        assert "s3cret" not in words
        assert "0ther" not in words
